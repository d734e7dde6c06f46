//! Values as a person writes them: durations, sizes, counts, permissions, owners of files.

use kiang::Memory;
use std::fs;
use std::str::FromStr;
use std::time::Duration;

/// A duration as `10s`, `500ms` or `1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// A duration above zero: nobody could meet a deadline of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(pub(crate) Duration);

/// A number of bytes as `16KiB`, `64MiB` or `16384`, above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A number of things, above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) usize);

/// A number of things, above zero, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound(pub(crate) Option<u64>);

/// A number of bytes, `auto`, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemorySize(pub(crate) Memory);

/// A number of bytes per second as `240` or `1KiB`; 0 stands for no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

/// The permissions of a file, in octal as `chmod` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode(pub(crate) u32);

/// A user, a group, or both as `user:group`, by name or number; as numbers. `process` stands for those of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
}

const DURATIONS: [(&str, u64); 5] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let micros = quantity(text, &DURATIONS, None, "a duration such as `10s`, `500ms` or `1m`")?;
        Ok(Self(Duration::from_micros(micros)))
    }
}

impl FromStr for Deadline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse()? {
            Span(Duration::ZERO) => Err("a deadline must be above zero".into()),
            Span(duration) => Ok(Self(duration)),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match quantity(text, &SIZES, Some(1), "a size such as `16KiB`, `64MiB` or a plain number of bytes")? {
            0 => Err("a size must be above zero".into()),
            bytes => Ok(Self(bytes)),
        }
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) => Err("a count must be above zero".into()),
            Ok(count) => Ok(Self(count)),
            Err(_) => Err("expected a whole number such as `100`".into()),
        }
    }
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unlimited" => Ok(Self(None)),
            _ => match text.parse() {
                Ok(0) => Err("a count must be above zero".into()),
                Ok(count) => Ok(Self(Some(count))),
                Err(_) => Err("expected a whole number such as `100`, or `unlimited`".into()),
            },
        }
    }
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self(Memory::Derived)),
            "unlimited" => Ok(Self(Memory::Unlimited)),
            _ => match text.parse() {
                Ok(Size(bytes)) => Ok(Self(Memory::AtMost(bytes))),
                Err(error) => Err(format!("{error}; or `auto`, or `unlimited`")),
            },
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        quantity(text, &SIZES, Some(1), "a size for each second such as `240` or `1KiB`, or 0 for none")
            .map(Self)
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o777 && !text.starts_with('+') => Ok(Self(mode)),
            _ => Err("expected permissions in octal, from `000` to `777`, such as `660`".into()),
        }
    }
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "process" {
            return Ok(Self::default());
        }
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() && group.is_empty() {
            return Err(
                "expected a user, or a user and a group, such as `www-data:www-data` or `33:33`".into()
            );
        }
        Ok(Self { user: id("user", user, "/etc/passwd")?, group: id("group", group, "/etc/group")? })
    }
}

/// The number of a user or a group, if any is named.
fn id(kind: &str, name: &str, list: &str) -> Result<Option<u32>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let list_text = fs::read_to_string(list).unwrap_or_default();
    number_of(name, &list_text).map(Some).ok_or_else(|| {
        format!("there is no {kind} `{name}` in {list}: name one that is there, or write a number")
    })
}

/// The third field of the line that begins with this name (`passwd(5)`, `group(5)`).
fn number_of(name: &str, list: &str) -> Option<u32> {
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() == Some(name) { fields.nth(1)?.parse().ok() } else { None }
    })
}

/// Reads a whole number and its unit as a multiple of the smallest unit.
fn quantity(text: &str, units: &[(&str, u64)], plain: Option<u64>, expected: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.trim_start();
    if number.is_empty() {
        return Err(format!("expected {expected}"));
    }
    let factor = match units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => plain.ok_or_else(|| format!("a unit is missing: expected {expected}"))?,
        None => {
            let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
            return Err(format!("unknown unit `{unit}`, the units are {}", names.join(", ")));
        }
    };
    let number = number.parse().ok();
    number.and_then(|number: u64| number.checked_mul(factor)).ok_or_else(|| "the number is too large".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    fn error<T: FromStr<Err = String> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().expect_err("must not parse")
    }

    #[test]
    fn durations_are_read() {
        let parsed = |text: &str| text.parse::<Span>().map(|span| span.0);
        assert_eq!(parsed("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parsed("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parsed("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(parsed(" 2 h "), Ok(Duration::from_secs(7200)));
        assert_eq!(parsed("100us"), Ok(Duration::from_micros(100)));
        assert_eq!(parsed("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn durations_that_are_none_say_what_is_wrong() {
        assert!(error::<Span>("10").contains("a unit is missing"));
        assert!(
            error::<Span>("10 parsecs").contains("unknown unit `parsecs`, the units are us, ms, s, m, h")
        );
        for text in ["", "s", "-1s", "soon"] {
            assert!(error::<Span>(text).contains("expected a duration such as `10s`"), "{text}");
        }
        assert!(error::<Span>("1.5s").contains("unknown unit `.5s`"));
        assert!(error::<Span>("18446744073709551616s").contains("too large"));
        assert!(error::<Span>("18446744073709551615h").contains("too large"));
        assert!(error::<Deadline>("0ms").contains("above zero"));
    }

    #[test]
    fn sizes_are_read() {
        let parsed = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(parsed("16KiB"), Ok(16_384));
        assert_eq!(parsed("64MiB"), Ok(64 << 20));
        assert_eq!(parsed("1gib"), Ok(1 << 30));
        assert_eq!(parsed("10 kB"), Ok(10_000));
        assert_eq!(parsed("1000"), Ok(1000));
        assert_eq!(parsed("7B"), Ok(7));
    }

    #[test]
    fn sizes_that_are_none_say_what_is_wrong() {
        assert!(error::<Size>("16K").contains("unknown unit `K`, the units are B, kB, KiB"));
        assert!(error::<Size>("much").contains("expected a size such as `16KiB`"));
        assert!(error::<Size>("0KiB").contains("above zero"));
        assert!(error::<Size>("18446744073709551615GiB").contains("too large"));
    }

    #[test]
    fn counts_and_addresses() {
        assert_eq!("100".parse(), Ok(Count(100)));
        assert!(error::<Count>("0").contains("above zero"));
        assert!(error::<Count>("-1").contains("whole number"));
        for (text, bound) in [("100", Some(100)), ("unlimited", None)] {
            assert_eq!(text.parse(), Ok(Bound(bound)));
        }
        assert!(error::<Bound>("0").contains("above zero"));
        assert!(error::<Bound>("any").contains("or `unlimited`"));
        for (text, memory) in
            [("64MiB", Memory::AtMost(64 << 20)), ("auto", Memory::Derived), ("unlimited", Memory::Unlimited)]
        {
            assert_eq!(text.parse(), Ok(MemorySize(memory)));
        }
        assert!(error::<MemorySize>("much").contains("; or `auto`, or `unlimited`"));
        assert_eq!(
            ("240".parse(), "0".parse(), "1KiB".parse()),
            (Ok(Rate(240)), Ok(Rate(0)), Ok(Rate(1024)))
        );
        assert!(error::<Rate>("slow").contains("or 0 for none"));
    }

    #[test]
    fn permissions_are_octal_and_owners_have_names_or_numbers() {
        for (text, mode) in [("660", 0o660), ("0660", 0o660), ("777", 0o777), ("0", 0)] {
            assert_eq!(text.parse(), Ok(Mode(mode)));
        }
        for text in ["", "1000", "rw", "888", "+66", "-1"] {
            assert!(error::<Mode>(text).contains("octal"), "{text}");
        }
        let owner = |user, group| Ok(Owner { user, group });
        assert_eq!("process".parse(), owner(None, None));
        assert_eq!("33".parse(), owner(Some(33), None));
        assert_eq!("33:44".parse(), owner(Some(33), Some(44)));
        assert_eq!(":44".parse(), owner(None, Some(44)));
        assert_eq!("root:root".parse(), owner(Some(0), Some(0)));
        assert!(error::<Owner>("nobody-at-all").contains("no user `nobody-at-all` in /etc/passwd"));
        assert!(error::<Owner>("0:nobody-at-all").contains("no group `nobody-at-all` in /etc/group"));
        assert!(
            error::<Owner>("").contains("expected a user") && error::<Owner>(":").contains("expected a user")
        );
        let list = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n";
        assert_eq!((number_of("www-data", list), number_of("www", list)), (Some(33), None));
    }
}
