//! Where an answer ends, and whether it is the right one.

use std::fmt;

const MAX_FIELDS: usize = 64;
/// The longest head: whoever sends more without completing it is not a server that can be measured.
const MAX_HEAD: usize = 64 * 1024;

/// An answer that cannot be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The head is not HTTP/1.1, or too long.
    Head,
    /// Another status than 200.
    Status(u16),
    /// No Content-Length: this generator frames by nothing else.
    Length,
    /// Another body than the one that was expected.
    Body,
    /// More bytes than there were requests for.
    Unasked,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("an answer's head does not parse"),
            Self::Status(status) => write!(f, "an answer has status {status} instead of 200"),
            Self::Length => f.write_str("an answer has no Content-Length"),
            Self::Body => f.write_str("an answer has another body than the first"),
            Self::Unasked => f.write_str("more was answered than asked"),
        }
    }
}

/// Frames and checks the answers of one server to one request: all have status 200 and the same body.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// The first answer's, unless one was given.
    body: Option<Vec<u8>>,
    /// Lengths of the last answer's head and of the whole answer. The next one has the same, as a rule.
    head: usize,
    whole: usize,
}

impl Answers {
    pub(crate) fn new(body: Option<Vec<u8>>) -> Self {
        Self { body, head: 0, whole: 0 }
    }

    /// The length of the answer that `bytes` begin with; none while it is not complete.
    #[inline]
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<Option<usize>, Wrong> {
        if self.is_like_the_last(bytes) {
            return Ok(Some(self.whole));
        }
        self.parse(bytes)
    }

    /// Status, end of the head and body are where they were: nothing need be parsed.
    #[inline]
    fn is_like_the_last(&self, bytes: &[u8]) -> bool {
        self.whole > 0
            && bytes.len() >= self.whole
            && bytes.starts_with(b"HTTP/1.1 200")
            && bytes[..self.head].ends_with(b"\r\n\r\n")
            && self.body.as_deref() == Some(&bytes[self.head..self.whole])
    }

    fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Wrong> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let head = match response.parse(bytes) {
            Ok(httparse::Status::Complete(head)) => head,
            Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => return Ok(None),
            _ => return Err(Wrong::Head),
        };
        match response.code {
            Some(200) => {}
            status => return Err(Wrong::Status(status.unwrap_or_default())),
        }
        let length = response
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case("content-length"))
            .and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse::<u32>().ok())
            .ok_or(Wrong::Length)?;
        let Some(body) = bytes[head..].get(..length as usize) else { return Ok(None) };
        if self.body.get_or_insert_with(|| body.to_vec()) != body {
            return Err(Wrong::Body);
        }
        (self.head, self.whole) = (head, head + body.len());
        Ok(Some(self.whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn an_answer_is_whole_at_its_last_byte_whether_the_shape_is_known_or_not() {
        let mut answers = Answers::default();
        for _ in 0..2 {
            for length in 0..ANSWER.len() {
                assert_eq!(answers.next(&ANSWER[..length]), Ok(None), "{length}");
            }
            assert_eq!(answers.next(&[ANSWER, ANSWER].concat()), Ok(Some(ANSWER.len())));
        }
    }

    #[test]
    fn a_head_of_another_length_is_framed_anew() {
        let longer = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 5\r\n\r\nhello";
        let mut answers = Answers::default();
        for answer in [ANSWER, longer, ANSWER] {
            assert_eq!(answers.next(answer), Ok(Some(answer.len())));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut answers = Answers::default();
        answers.next(ANSWER).unwrap();
        for (answer, wrong) in [
            (&b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello"[..], Wrong::Status(503)),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhullo", Wrong::Body),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell", Wrong::Body),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello", Wrong::Length),
            (b"hello", Wrong::Head),
        ] {
            assert_eq!(answers.next(answer), Err(wrong));
        }
        assert_eq!(Answers::new(Some(b"other".to_vec())).next(ANSWER), Err(Wrong::Body));
    }
}
