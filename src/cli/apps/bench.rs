//! `--app bench`: the endpoints of two public benchmarks, `TechEmpower` and its living successor `HttpArena`.
//!
//! The projects' own rules say what the endpoints must answer: the verifier of `TechEmpower` for `/plaintext` and
//! `/json`, the test profiles `baseline`, `pipelined`, `upload` and `json` of `HttpArena` for the others.

use super::items::{Item, Page};
use kiang::{
    App, Body, Bytes, Core, Counts, Error, FromRequestParts, Json, Path, Request, Response, Result,
    StatusCode,
};
use percent_encoding::percent_decode_str;
use rustix::thread::sched_getcpu;
use serde::Serialize;
use std::rc::Rc;

/// The application for one core.
///
/// Each core has its own copy of the items, counted without atomics.
pub(super) fn app(core: Core, items: &[Item]) -> App {
    let items: Rc<[Item]> = items.into();
    App::new()
        .get("/", || {
            Response::new(StatusCode::OK).header("Content-Type", "text/html; charset=utf-8").body(INDEX)
        })
        .get("/plaintext", || "Hello, World!")
        .get("/json", || Json(Message { message: "Hello, World!" }))
        .get("/pipeline", || "ok")
        .get("/baseline11", |QuerySum(sum): QuerySum| sum.to_string())
        .post("/baseline11", |QuerySum(sum): QuerySum, body: Bytes| sum_with_body(sum, &body))
        .post("/upload", count_bytes)
        .get("/json/{count}", move |Path(count): Path<i64>, Factor(m): Factor| {
            page(&items, count, m).map(Json)
        })
        .get("/cores", move || cores(core.clone()))
}

/// What `GET /` shows.
const INDEX: &str = include_str!("bench.html");
/// The largest upload of `HttpArena`, exactly.
const LONGEST_UPLOAD: u64 = 20 << 20;
/// Most characters of a value that is no integer which the error repeats.
const SHOWN: usize = 40;

/// The rules of `TechEmpower` want this object made and serialized for every request.
#[derive(Serialize)]
struct Message {
    message: &'static str,
}

/// One core's part of `/cores`.
#[derive(Serialize)]
struct CoreCounts {
    core: usize,
    /// The processor that the core is pinned to.
    cpu: usize,
    /// The processor that the core ran on when it was asked.
    runs_on: usize,
    #[serde(flatten)]
    counts: Counts,
}

async fn cores(core: Core) -> Json<Vec<CoreCounts>> {
    let ask = |core: &Core| CoreCounts {
        core: core.id(),
        cpu: core.cpu(),
        runs_on: sched_getcpu(),
        counts: core.counts(),
    };
    Json(core.ask_all(ask).await)
}

/// The sum of the values of a query such as `a=13&b=42`; 0 without one.
struct QuerySum(i64);

impl FromRequestParts for QuerySum {
    fn from_request_parts(request: &Request) -> Result<Self> {
        sum_of(request.query()).map(Self)
    }
}

/// The `m` of a query; 1 without one.
struct Factor(i64);

impl FromRequestParts for Factor {
    fn from_request_parts(request: &Request) -> Result<Self> {
        let m = pairs(request.query()).find(|(name, _)| *name == "m");
        m.map_or(Ok(1), |(name, value)| integer(value, name)).map(Self)
    }
}

fn sum_with_body(sum: i64, body: &[u8]) -> Result<String> {
    let number = integer(&String::from_utf8_lossy(body), "the body")?;
    add(sum, number).map(|sum| sum.to_string())
}

/// Counts the bytes that arrive, piece by piece. The length that the head announced only serves to refuse.
async fn count_bytes(mut body: Body) -> Result<String> {
    let too_long = || {
        let message = format!("an upload may have at most {LONGEST_UPLOAD} bytes");
        Error::with_status(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    if body.length().is_some_and(|length| length > LONGEST_UPLOAD) {
        return Err(too_long());
    }
    let mut count = 0;
    while let Some(piece) = body.next().await {
        count += piece?.len() as u64;
        if count > LONGEST_UPLOAD {
            return Err(too_long());
        }
    }
    Ok(count.to_string())
}

fn sum_of(query: Option<&str>) -> Result<i64> {
    pairs(query).try_fold(0, |sum, (name, value)| add(sum, integer(value, name)?))
}

/// The first `count` items, `m` times as dear. A count beyond the last item means all items, as with the other servers
/// in `HttpArena`.
fn page(items: &Rc<[Item]>, count: i64, m: i64) -> Result<Page> {
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    Page::new(items, count, m)
        .ok_or_else(|| bad_request(format!("m={m} makes a total that does not fit 64 bits")))
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn integer(text: &str, what: &str) -> Result<i64> {
    let parse = |text: &str| text.trim().parse().ok();
    // Digits need no decoding. Percent-encoded digits do.
    let number = parse(text).or_else(|| parse(&percent_decode_str(text).decode_utf8_lossy()));
    number.ok_or_else(|| {
        let shown: String = text.chars().take(SHOWN).collect();
        bad_request(format!("{what}: `{shown}` is not an integer of at most 64 bits"))
    })
}

fn add(one: i64, other: i64) -> Result<i64> {
    one.checked_add(other).ok_or_else(|| bad_request("the sum does not fit 64 bits".to_owned()))
}

fn bad_request(message: String) -> Error {
    Error::with_status(StatusCode::BAD_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(query: &str) -> Result<i64, String> {
        sum_of(Some(query)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_integers_of_a_query_are_summed() {
        assert_eq!(sum("a=13&b=42"), Ok(55));
        assert_eq!(sum("a=-13&b=%34%32&c=+1"), Ok(30));
        assert_eq!(sum("a=1&&b=2&"), Ok(3));
        assert_eq!(sum(""), Ok(0));
        assert_eq!(sum_of(None).ok(), Some(0));
    }

    #[test]
    fn a_query_that_cannot_be_summed_says_why() {
        assert_eq!(sum("a=13&b=x"), Err("b: `x` is not an integer of at most 64 bits".into()));
        assert!(sum("a").is_err());
        assert!(sum("a=9223372036854775808").is_err());
        assert_eq!(sum("a=9223372036854775807&b=1"), Err("the sum does not fit 64 bits".into()));
        assert_eq!(sum("a=9223372036854775807&b=-1"), Ok(i64::MAX - 1));
    }

    #[test]
    fn a_body_is_added_and_one_that_is_none_is_not_shown_whole() {
        let sum = |body: &[u8]| sum_with_body(55, body).map_err(|error| error.to_string());
        assert_eq!(sum(b"20"), Ok("75".into()));
        assert_eq!(sum(b" -5\r\n"), Ok("50".into()));
        assert!(sum(b"").is_err_and(|error| error.starts_with("the body: `` is not an integer")));
        assert!(sum(b"\xFF").is_err());
        assert!(sum(&[b'x'; 1000]).is_err_and(|error| error.len() < 100));
        assert!(sum(i64::MAX.to_string().as_bytes()).is_err_and(|error| error.contains("the sum")));
    }

    #[test]
    fn a_page_is_as_long_as_asked_for_and_there_are_items() {
        let items: Rc<[Item]> = Item::built_in().into();
        for (count, expected) in [(0, 0), (1, 1), (12, 12), (50, 50), (51, 50), (i64::MAX, 50), (-1, 0)] {
            let page = page(&items, count, 3).expect("small totals");
            let page = serde_json::to_value(page).expect("plain data");
            assert_eq!(page["count"], expected);
            let items = page["items"].as_array().expect("a list");
            assert_eq!(items.len(), expected);
            for item in items {
                let number = |key: &str| item[key].as_i64().expect("an integer");
                assert_eq!(number("total"), number("price") * number("quantity") * 3);
            }
        }
        assert!(page(&items, 1, i64::MAX).is_err_and(|error| error.to_string().contains("64 bits")));
    }
}
