//! Servers as processes, pinned to one core.

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use load::Target;
use rustix::process::{Pid, Signal, kill_process};

use crate::settings::Settings;

/// How long a server may take to give its first answer, or to end.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// A server that runs, and that has given the right answers. Dropped, it is ended.
pub(crate) struct Server {
    pub(crate) name: String,
    child: Child,
    address: SocketAddrV4,
    log: PathBuf,
}

impl Server {
    /// Starts a server, waits until it answers, and looks whether it answers what all must.
    pub(crate) fn start(name: &str, command: &str, settings: &Settings) -> Result<Self, Box<dyn Error>> {
        // The servers take a port and not a socket: the kernel names a free one.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let (port_text, cpu) = (port.to_string(), settings.server_cpu.to_string());
        let words =
            command.split_whitespace().map(|word| word.replace("{port}", &port_text).replace("{cpu}", &cpu));
        fs::create_dir_all("target/bench/log")?;
        let log = PathBuf::from(format!("target/bench/log/{name}"));
        let file = File::create(&log)?;
        // setpriv: the server ends with this process, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "taskset", "-c", &cpu])
            .args(words)
            .env("PORT", &port_text)
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| format!("setpriv: {error}"))?;
        let mut server =
            Self { name: name.to_owned(), child, address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), log };
        server.wait_until_ready().map_err(|error| server.fault(&*error))?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn target(&self, path: &str) -> Target {
        let body = if path == "/json" { JSON } else { TEXT };
        Target { address: self.address, path: path.to_owned(), body: Some(body.into()) }
    }

    /// An error that says which server it was, and what it had to say.
    pub(crate) fn fault(&self, error: &dyn Error) -> Box<dyn Error> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        format!("{}: {error}\n{}", self.name, log.trim_end()).into()
    }

    fn wait_until_ready(&mut self) -> Result<(), Box<dyn Error>> {
        let since = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("ended, {status}").into());
            }
            if since.elapsed() > PATIENCE {
                return Err("does not listen".into());
            }
            thread::sleep(PAUSE);
        }
        check(&self.ask("/plaintext")?, "text/plain", TEXT)?;
        check(&self.ask("/json")?, "application/json", JSON)
    }

    fn ask(&self, path: &str) -> Result<String, Box<dyn Error>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        // Not all servers heed the wish to close: the body is the last thing.
        while !answer.ends_with(TEXT.as_bytes()) && !answer.ends_with(JSON.as_bytes()) {
            match stream.read(&mut buffer)? {
                0 => break,
                length => answer.extend_from_slice(&buffer[..length]),
            }
        }
        Ok(String::from_utf8(answer)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(PAUSE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const TEXT: &str = "Hello, World!";
const JSON: &str = r#"{"message":"Hello, World!"}"#;

/// All servers must send the same, so that they do comparable work.
fn check(answer: &str, media: &str, body: &str) -> Result<(), Box<dyn Error>> {
    let wrong = |what: &str| Err(format!("{what}:\n{answer}").into());
    let Some((head, content)) = answer.split_once("\r\n\r\n") else { return wrong("no whole head") };
    let mut lines = head.split("\r\n");
    if !lines.next().is_some_and(|line| line.starts_with("HTTP/1.1 200 ")) {
        return wrong("not a 200 of HTTP/1.1");
    }
    let fields = lines.filter_map(|line| line.split_once(':')).collect::<Vec<_>>();
    let length = body.len().to_string();
    for (name, begins) in [("server", ""), ("date", ""), ("content-type", media), ("content-length", &length)]
    {
        let found = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        if !found.is_some_and(|(_, value)| !value.trim().is_empty() && value.trim().starts_with(begins)) {
            return wrong(&format!("no field {name}: {begins}"));
        }
    }
    if content == body { Ok(()) } else { wrong("another body") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_one_of_its_fields_is_not_comparable() {
        let fields =
            ["Server: x", "Date: Wed, 25 Nov 2026 10:00:00 GMT", "Content-Type: text/plain; charset=utf-8"];
        let answer = |fields: &[&str]| {
            format!("HTTP/1.1 200 Ok\r\n{}\r\nContent-Length: 13\r\n\r\nHello, World!", fields.join("\r\n"))
        };
        check(&answer(&fields), "text/plain", TEXT).unwrap();
        for missing in 0..fields.len() {
            let mut fewer = fields.to_vec();
            fewer.remove(missing);
            check(&answer(&fewer), "text/plain", TEXT).unwrap_err();
        }
        check(&answer(&fields), "application/json", TEXT).unwrap_err();
        check(&answer(&fields).replace("200 Ok", "404 Not Found"), "text/plain", TEXT).unwrap_err();
        check(&answer(&fields).replace("World", "Moon!"), "text/plain", TEXT).unwrap_err();
    }
}
