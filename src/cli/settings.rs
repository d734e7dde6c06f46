//! The settings of `serve`. A flag comes before the environment, the environment before the file, the file before the
//! default.

use super::apps::AppName;
use super::log::{AccessLogTo, LogFormat};
use super::units::{Bound, Count, Deadline, MemorySize, Mode, Owner, Rate, Size, Span};
use kiang::{AccessLog, Cores, Deadlines, Limits, ListenAddr, Memory, Server};
use serde::{Deserialize, Deserializer, de};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use std::{fmt, fs};

/// All settings. One definition serves flag, environment and file, so that the key of a flag `--max-head` is always
/// `max-head`, and the variable `KIANG_MAX_HEAD`.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Address to listen on: `127.0.0.1:8080`, `:8080` (every address of this machine), `localhost:8080`,
    /// `unix:/run/kiang.sock`, or `systemd` (what a socket unit passes); repeat it, or separate several with
    /// commas [default: 127.0.0.1:8080]
    #[arg(long, env = "KIANG_BIND", value_name = "ADDRESS", value_delimiter = ',')]
    #[serde(deserialize_with = "texts")]
    bind: Option<Vec<ListenAddr>>,

    /// Permissions of the files of Unix sockets: users that may write may connect [default: 660]
    #[arg(long, env = "KIANG_UNIX_MODE", value_name = "MODE")]
    #[serde(deserialize_with = "octal")]
    unix_mode: Option<Mode>,

    /// Owner of the files of Unix sockets: `user`, `user:group`, `:group`, or that of the process
    /// [default: process]
    #[arg(long, env = "KIANG_UNIX_OWNER", value_name = "OWNER")]
    #[serde(deserialize_with = "text")]
    unix_owner: Option<Owner>,

    /// CPUs to run on: `all`, how many (`2`), or which (`0,2-5`; `3-3` is CPU 3 alone) [default: all]
    #[arg(long, env = "KIANG_CORES", value_name = "CORES")]
    #[serde(deserialize_with = "text")]
    cores: Option<Cores>,

    /// What to serve: `bench`, the endpoints of the common benchmarks, or `echo`, which answers what it was
    /// sent [default: bench]
    #[arg(long, env = "KIANG_APP", value_name = "APP")]
    #[serde(deserialize_with = "text")]
    app: Option<AppName>,

    /// File with the items of the app `bench`, in the shape of HttpArena's `dataset.json` [default: built in]
    #[arg(long, env = "KIANG_DATASET", value_name = "FILE")]
    dataset: Option<PathBuf>,

    /// On SIGTERM or SIGINT, how long requests in flight may take to finish [default: 10s]
    #[arg(long, env = "KIANG_DRAIN", value_name = "DURATION")]
    #[serde(deserialize_with = "text")]
    drain: Option<Span>,

    /// Whether to take the port over from a kiang of the same user that was started with this too; that one
    /// then drains [default: false]
    #[arg(long, env = "KIANG_TAKEOVER", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    takeover: Option<bool>,

    /// Whether new connections are balanced between the cores [default: false]
    #[arg(long, env = "KIANG_BALANCE", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    balance: Option<bool>,

    /// File to which a line of JSON is written for each request; `-` is stdout [default: off]
    #[arg(long, env = "KIANG_ACCESS_LOG", value_name = "PATH", help_heading = LOGS)]
    #[serde(deserialize_with = "text")]
    access_log: Option<AccessLogTo>,

    /// Write one request in so many to the access log, on each core [default: 1]
    #[arg(long, env = "KIANG_ACCESS_LOG_SAMPLE", value_name = "COUNT", help_heading = LOGS)]
    #[serde(deserialize_with = "text")]
    access_log_sample: Option<Count>,

    /// How the log on stderr is written: `text` or `json` [default: text]
    #[arg(long, env = "KIANG_LOG_FORMAT", value_name = "FORMAT", help_heading = LOGS)]
    #[serde(deserialize_with = "text")]
    log_format: Option<LogFormat>,

    /// Longest request line and header fields together; beyond it 431 [default: 16KiB]
    #[arg(long, env = "KIANG_MAX_HEAD", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(deserialize_with = "text")]
    max_head: Option<Size>,

    /// Most header fields of a request; beyond it 431 [default: 100]
    #[arg(long, env = "KIANG_MAX_HEADERS", value_name = "COUNT", help_heading = LIMITS)]
    #[serde(deserialize_with = "text")]
    max_headers: Option<Count>,

    /// Longest request target; beyond it 414 [default: 8KiB]
    #[arg(long, env = "KIANG_MAX_TARGET", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(deserialize_with = "text")]
    max_target: Option<Size>,

    /// Longest request body; beyond it 413 [default: 64MiB]
    #[arg(long, env = "KIANG_MAX_BODY", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(deserialize_with = "text")]
    max_body: Option<Size>,

    /// Longest request body that is collected in memory; beyond it 413 [default: 2MiB]
    #[arg(long, env = "KIANG_MAX_BUFFERED_BODY", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(deserialize_with = "text")]
    max_buffered_body: Option<Size>,

    /// Most bytes of all chunk extensions of one request body together; beyond it 400 [default: 4KiB]
    #[arg(long, env = "KIANG_MAX_CHUNK_EXTENSIONS", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(deserialize_with = "text")]
    max_chunk_extensions: Option<Size>,

    /// Most bytes of the trailer fields of one request body; beyond it 431 [default: 8KiB]
    #[arg(long, env = "KIANG_MAX_TRAILERS", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(deserialize_with = "text")]
    max_trailers: Option<Size>,

    /// Most requests of one connection; the last answer says `Connection: close` [default: unlimited]
    #[arg(long, env = "KIANG_MAX_REQUESTS", value_name = "COUNT", help_heading = LIMITS)]
    #[serde(deserialize_with = "text")]
    max_requests: Option<Bound>,

    /// Most connections of one core; beyond it new ones are answered 503 [default: 100000]
    #[arg(long, env = "KIANG_MAX_CONNECTIONS", value_name = "COUNT", help_heading = LIMITS)]
    #[serde(deserialize_with = "text")]
    max_connections: Option<Count>,

    /// Most connections of one core from one peer (IPv4 address or IPv6 /64); beyond it new ones are reset
    /// [default: 16384]
    #[arg(long, env = "KIANG_MAX_CONNECTIONS_PER_PEER", value_name = "COUNT", help_heading = LIMITS)]
    #[serde(deserialize_with = "text")]
    max_connections_per_peer: Option<Count>,

    /// Most memory of all requests and unsent answers together, an equal share for each core; beyond it 503. `auto` is
    /// half of the control group's limit or of the machine's memory [default: auto]
    #[arg(long, env = "KIANG_MAX_MEMORY", value_name = "SIZE", help_heading = LIMITS)]
    #[serde(deserialize_with = "text")]
    max_memory: Option<MemorySize>,

    /// Longest wait for a whole request head, from its first byte or the connection's start [default: 10s]
    #[arg(long, env = "KIANG_HEAD_TIMEOUT", value_name = "DURATION", help_heading = DEADLINES)]
    #[serde(deserialize_with = "text")]
    head_timeout: Option<Deadline>,

    /// Longest wait between two pieces of a request body [default: 30s]
    #[arg(long, env = "KIANG_BODY_TIMEOUT", value_name = "DURATION", help_heading = DEADLINES)]
    #[serde(deserialize_with = "text")]
    body_timeout: Option<Deadline>,

    /// Least bytes per second of a request body, over the time it was waited for; 0 for none [default: 240B]
    #[arg(long, env = "KIANG_MIN_BODY_RATE", value_name = "SIZE", help_heading = DEADLINES)]
    #[serde(deserialize_with = "text")]
    min_body_rate: Option<Rate>,

    /// Longest wait for the next request on a connection [default: 75s]
    #[arg(long, env = "KIANG_IDLE_TIMEOUT", value_name = "DURATION", help_heading = DEADLINES)]
    #[serde(deserialize_with = "text")]
    idle_timeout: Option<Deadline>,

    /// Longest time of a handler until its response, without waits for the body; beyond it 503 [default: 1m]
    #[arg(long, env = "KIANG_HANDLER_TIMEOUT", value_name = "DURATION", help_heading = DEADLINES)]
    #[serde(deserialize_with = "text")]
    handler_timeout: Option<Deadline>,

    /// Longest time in which a client takes nothing of an answer that waits for it [default: 30s]
    #[arg(long, env = "KIANG_WRITE_TIMEOUT", value_name = "DURATION", help_heading = DEADLINES)]
    #[serde(deserialize_with = "text")]
    write_timeout: Option<Deadline>,

    /// Longest time to listen to a client that still sends after its last answer [default: 30s]
    #[arg(long, env = "KIANG_LINGER_TIMEOUT", value_name = "DURATION", help_heading = DEADLINES)]
    #[serde(deserialize_with = "text")]
    linger_timeout: Option<Deadline>,

    /// Longest wait for one more request on an idle connection while the server drains [default: 250ms]
    #[arg(long, env = "KIANG_DRAIN_IDLE_TIMEOUT", value_name = "DURATION", help_heading = DEADLINES)]
    #[serde(deserialize_with = "text")]
    drain_idle_timeout: Option<Deadline>,

    /// Longest time to listen to a client that was told that there is no place for it [default: 1s]
    #[arg(long, env = "KIANG_SHED_TIMEOUT", value_name = "DURATION", help_heading = DEADLINES)]
    #[serde(deserialize_with = "text")]
    shed_timeout: Option<Deadline>,
}

const LOGS: &str = "Logs (the one on stderr shows what KIANG_LOG says)";
const LIMITS: &str = "Limits (on what one client may send)";
const DEADLINES: &str = "Deadlines (a client that misses one loses its connection, a handler is dropped)";

/// All settings, each with a value.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) bind: Vec<ListenAddr>,
    pub(crate) unix_mode: Mode,
    pub(crate) unix_owner: Owner,
    pub(crate) cores: Cores,
    pub(crate) app: AppName,
    pub(crate) dataset: Option<PathBuf>,
    pub(crate) drain: Duration,
    pub(crate) takeover: bool,
    pub(crate) balance: bool,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) log_format: LogFormat,
    pub(crate) limits: Limits,
    pub(crate) memory: Memory,
    pub(crate) deadlines: Deadlines,
}

impl Settings {
    /// Addresses, and no other setting.
    pub(crate) fn with_bind(bind: Option<Vec<ListenAddr>>) -> Self {
        Self { bind, ..Self::default() }
    }

    /// Reads a TOML file. The error names the file, the line and what would be right.
    pub(crate) fn from_file(path: &str) -> Result<Self, String> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read the configuration file `{path}`: {error}"))?;
        Self::from_toml(&text).map_err(|error| format!("in the configuration file `{path}`, {error}"))
    }

    pub(super) fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text[..start].matches('\n').count();
            let shown = text.lines().nth(line).unwrap_or_default().trim();
            format!("line {}, `{shown}`: {}", line + 1, error.message())
        })
    }

    /// These settings; where one of them is absent, the one of `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        // The compiler names a field that is missing here.
        macro_rules! each_or {
            ($($field:ident)*) => { Self { $($field: self.$field.or(other.$field),)* } };
        }
        each_or! {
            bind unix_mode unix_owner cores app dataset drain takeover balance access_log access_log_sample log_format
            max_head max_headers max_target max_body max_buffered_body max_chunk_extensions max_trailers max_requests
            max_connections max_connections_per_peer max_memory
            head_timeout body_timeout min_body_rate idle_timeout handler_timeout write_timeout
            linger_timeout drain_idle_timeout shed_timeout
        }
    }

    /// Fills in the defaults, and checks what takes more than one value to see.
    pub(crate) fn decide(self) -> Result<Config, String> {
        let (limits, deadlines) = (Limits::default(), Deadlines::default());
        let size = |size: Option<Size>, default| match size {
            Some(Size(bytes)) => usize::try_from(bytes).unwrap_or(usize::MAX),
            None => default,
        };
        let sample = self.access_log_sample.map_or(1, |count| count.0);
        let head_bytes = size(self.max_head, limits.head_bytes);
        let config = Config {
            bind: self.bind.unwrap_or_else(default_bind),
            unix_mode: self.unix_mode.unwrap_or(UNIX_MODE),
            unix_owner: self.unix_owner.unwrap_or_default(),
            cores: self.cores.unwrap_or_default(),
            app: self.app.unwrap_or_default(),
            dataset: self.dataset,
            drain: self.drain.map_or(Server::DEFAULT_DRAIN, |span| span.0),
            takeover: self.takeover.unwrap_or_default(),
            balance: self.balance.unwrap_or_default(),
            access_log: self.access_log.and_then(|to| to.0).map(|log| log.sample(sample)),
            log_format: self.log_format.unwrap_or_default(),
            limits: Limits {
                head_bytes,
                headers: self.max_headers.map_or(limits.headers, |count| count.0),
                // A lower limit of the head alone is meant for the target as well.
                target_bytes: size(self.max_target, limits.target_bytes.min(head_bytes)),
                body_bytes: self.max_body.map_or(limits.body_bytes, |size| size.0),
                buffered_body_bytes: size(self.max_buffered_body, limits.buffered_body_bytes),
                chunk_extension_bytes: size(self.max_chunk_extensions, limits.chunk_extension_bytes),
                trailer_bytes: size(self.max_trailers, limits.trailer_bytes),
                requests: self.max_requests.map_or(limits.requests, |bound| bound.0),
                connections: self.max_connections.map_or(limits.connections, |count| count.0),
                connections_per_peer: self
                    .max_connections_per_peer
                    .map_or(limits.connections_per_peer, |count| count.0),
            },
            memory: self.max_memory.map_or(Memory::Derived, |size| size.0),
            deadlines: Deadlines {
                head: self.head_timeout.map_or(deadlines.head, |deadline| deadline.0),
                body: self.body_timeout.map_or(deadlines.body, |deadline| deadline.0),
                min_body_rate: self.min_body_rate.map_or(deadlines.min_body_rate, |rate| rate.0),
                idle: self.idle_timeout.map_or(deadlines.idle, |deadline| deadline.0),
                handler: self.handler_timeout.map_or(deadlines.handler, |deadline| deadline.0),
                write: self.write_timeout.map_or(deadlines.write, |deadline| deadline.0),
                linger: self.linger_timeout.map_or(deadlines.linger, |deadline| deadline.0),
                drain_idle: self.drain_idle_timeout.map_or(deadlines.drain_idle, |deadline| deadline.0),
                shed: self.shed_timeout.map_or(deadlines.shed, |deadline| deadline.0),
            },
        };
        config.check()?;
        Ok(config)
    }
}

impl Config {
    fn check(&self) -> Result<(), String> {
        if self.bind.is_empty() {
            return Err("`bind` names no address; leave it out for 127.0.0.1:8080".into());
        }
        let twice = |addr: &ListenAddr| self.bind.iter().filter(|other| addr.excludes(other)).count() > 1;
        if let Some(addr) = self.bind.iter().find(|addr| twice(addr)) {
            return Err(format!("`bind` names {addr} twice"));
        }
        self.cores.cpus().map_err(|error| format!("`cores`: {error}"))?;
        if self.dataset.is_some() && self.app != AppName::Bench {
            return Err(format!("`dataset` is for the app `bench`, and this is `{}`", self.app));
        }
        let checked = self.limits.check().and_then(|()| self.deadlines.check());
        checked.map_err(|invalid| format!("`{}` {}", key_of(invalid.field), invalid.reason))
    }
}

/// The fields of [`Limits`] and [`Deadlines`], and the settings they come from.
pub(super) const KEYS: [(&str, &str); 19] = [
    ("head_bytes", "max-head"),
    ("headers", "max-headers"),
    ("target_bytes", "max-target"),
    ("body_bytes", "max-body"),
    ("buffered_body_bytes", "max-buffered-body"),
    ("chunk_extension_bytes", "max-chunk-extensions"),
    ("trailer_bytes", "max-trailers"),
    ("requests", "max-requests"),
    ("connections", "max-connections"),
    ("connections_per_peer", "max-connections-per-peer"),
    ("head", "head-timeout"),
    ("body", "body-timeout"),
    ("min_body_rate", "min-body-rate"),
    ("idle", "idle-timeout"),
    ("handler", "handler-timeout"),
    ("write", "write-timeout"),
    ("linger", "linger-timeout"),
    ("drain_idle", "drain-idle-timeout"),
    ("shed", "shed-timeout"),
];

fn key_of(field: &'static str) -> &'static str {
    KEYS.iter().find(|(known, _)| *known == field).map_or(field, |(_, key)| key)
}

const UNIX_MODE: Mode = Mode(0o660);

/// What a service manager has passed is meant to be used; else, nobody but this machine.
fn default_bind() -> Vec<ListenAddr> {
    let default = || std::net::SocketAddr::from(([127, 0, 0, 1], 8080)).into();
    vec![ListenAddr::passed().unwrap_or_else(default)]
}

/// Reads permissions, which are a text: TOML would read a plain 660 as decimal.
fn octal<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Mode>, D::Error> {
    let text = String::deserialize(source)
        .map_err(|_| de::Error::custom("expected permissions as a text in quotes, such as \"660\""))?;
    text.parse().map(Some).map_err(de::Error::custom)
}

/// Reads a value that is a text, as in a flag. A plain number may stand without quotes.
fn text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(source: D) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text in quotes or a whole number")]
    enum Plain {
        Text(String),
        Number(i64),
    }
    let text = match Plain::deserialize(source)? {
        Plain::Text(text) => text,
        Plain::Number(number) => number.to_string(),
    };
    text.parse().map(Some).map_err(de::Error::custom)
}

/// Reads one text, or a list of texts.
fn texts<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    source: D,
) -> Result<Option<Vec<T>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text in quotes, or a list such as [\"127.0.0.1:8080\"]")]
    enum OneOrMore {
        One(String),
        Many(Vec<String>),
    }
    let texts = match OneOrMore::deserialize(source)? {
        OneOrMore::One(text) => vec![text],
        OneOrMore::Many(texts) => texts,
    };
    texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map(Some).map_err(de::Error::custom)
}
