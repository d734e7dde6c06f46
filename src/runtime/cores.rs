//! Which processors a server runs on.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Which processors a server runs on, one core of its own on each.
///
/// Written as `all` (those this process may use), a count (`2`: the first two of them), or a list with a comma
/// or a dash (`0,2-5`; `0-0` is processor 0 alone).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cores(Choice);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Choice {
    #[default]
    All,
    Count(usize),
    List(Vec<usize>),
}

impl Cores {
    /// Every processor that this process may use.
    pub const fn all() -> Self {
        Self(Choice::All)
    }

    /// The first `n` processors that this process may use.
    pub const fn count(n: usize) -> Self {
        Self(Choice::Count(n))
    }

    /// These processors, as the kernel counts them.
    pub fn list(cpus: impl IntoIterator<Item = usize>) -> Self {
        let mut cpus: Vec<_> = cpus.into_iter().collect();
        cpus.sort_unstable();
        cpus.dedup();
        Self(Choice::List(cpus))
    }

    /// The processors meant, by the kernel's numbers, out of those that this process may use.
    ///
    /// # Errors
    /// If there are not as many, or one of them does not exist.
    pub fn cpus(&self) -> Result<Vec<usize>> {
        self.choose(&available()?)
    }

    fn choose(&self, available: &[usize]) -> Result<Vec<usize>> {
        let there_are = || {
            let list: Vec<_> = available.iter().map(usize::to_string).collect();
            format!("this process may use these: {}", list.join(","))
        };
        match &self.0 {
            Choice::All => Ok(available.to_vec()),
            Choice::Count(0) => {
                Err(Error::new("a server needs at least one core; for processor 0 alone write 0-0"))
            }
            Choice::Count(n) if *n > available.len() => {
                Err(Error::new(format!("{n} cores were asked for, but {}", there_are())))
            }
            Choice::Count(n) => Ok(available[..*n].to_vec()),
            Choice::List(cpus) if cpus.is_empty() => Err(Error::new("the list of cores is empty")),
            Choice::List(cpus) => match cpus.iter().find(|cpu| !available.contains(cpu)) {
                Some(cpu) => Err(Error::new(format!("processor {cpu} was asked for, but {}", there_are()))),
                None => Ok(cpus.clone()),
            },
        }
    }
}

/// The processors that the calling thread may use, in order.
fn available() -> Result<Vec<usize>> {
    let mut available: Vec<_> = core_affinity::get_core_ids()
        .ok_or_else(|| Error::new("the kernel does not tell which processors this process may use"))?
        .into_iter()
        .map(|core| core.id)
        .collect();
    available.sort_unstable();
    Ok(available)
}

impl FromStr for Cores {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // More processors than any kernel counts: a range must not become a list that fills memory.
        const MOST: usize = 8192;
        let bad = || {
            Error::new(format!(
                "cores cannot be {text:?}: write all, a count such as 2, or a list such as 0,2-5 (0-0 for processor 0 alone)"
            ))
        };
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|n| *n < MOST).ok_or_else(bad);
        if text.trim().eq_ignore_ascii_case("all") {
            return Ok(Self::all());
        }
        if !text.contains([',', '-']) {
            return number(text).map(Self::count);
        }
        let mut cpus = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, last)) => match (number(first)?, number(last)?) {
                    (first, last) if first <= last => cpus.extend(first..=last),
                    _ => return Err(bad()),
                },
                None => cpus.push(number(part)?),
            }
        }
        Ok(Self::list(cpus))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Choice::All => f.write_str("all"),
            Choice::Count(n) => write!(f, "{n}"),
            Choice::List(cpus) if cpus.len() == 1 => write!(f, "{0}-{0}", cpus[0]),
            Choice::List(cpus) => {
                let list: Vec<_> = cpus.iter().map(usize::to_string).collect();
                f.write_str(&list.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_written_as_all_a_count_or_a_list() {
        let available = [0, 1, 2, 3, 6];
        let chosen = |text: &str| text.parse::<Cores>().and_then(|cores| cores.choose(&available)).ok();
        assert_eq!(chosen("all").as_deref(), Some(&available[..]));
        assert_eq!(chosen("2").as_deref(), Some(&[0, 1][..]));
        assert_eq!(chosen("5").as_deref(), Some(&available[..]));
        assert_eq!(chosen("0,2-3").as_deref(), Some(&[0, 2, 3][..]));
        assert_eq!(chosen("3-3").as_deref(), Some(&[3][..]));
        assert_eq!(chosen("6,1,1").as_deref(), Some(&[1, 6][..]));
        for bad in ["", "0", "6", "4-4", "0-", "-1", "3-2", "a", "1,,2", "0-99999999999", "1.5"] {
            assert_eq!(chosen(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_displayed_parses_to_the_same() {
        for text in ["all", "2", "0,2,3", "3-3"] {
            let cores: Cores = text.parse().unwrap();
            assert_eq!(cores.to_string(), text);
            assert_eq!(cores.to_string().parse::<Cores>().unwrap(), cores);
        }
    }

    #[test]
    fn an_error_names_what_there_is() {
        let error = "7-7".parse::<Cores>().unwrap().choose(&[0, 1]).unwrap_err().to_string();
        assert!(error.contains("processor 7") && error.contains("these: 0,1"), "{error}");
    }
}
