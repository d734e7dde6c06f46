//! What a peer reads: responses as RFC 9112 frames them, one after the other, and nothing between.

/// A response that has arrived.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// It says `Connection: close`.
    pub(super) closes: bool,
}

/// Takes bytes as they come.
#[derive(Default)]
pub(super) struct Reader {
    input: Vec<u8>,
    head: Option<Head>,
    body: Vec<u8>,
    /// Interim responses so far.
    pub(super) continues: usize,
}

struct Head {
    status: u16,
    framing: Framing,
    closes: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Framing {
    Length(usize),
    Chunked,
    /// All of the chunks are there, the empty line behind is not.
    Trailers,
    UntilClose,
}

impl Reader {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Whether part of a response has arrived.
    pub(super) fn is_within(&self) -> bool {
        self.head.is_some() || !self.input.is_empty()
    }

    /// The next response, if all of it is there; `bodiless` says that it answers a HEAD.
    pub(super) fn next(&mut self, bodiless: bool) -> Result<Option<Reply>, String> {
        loop {
            let Some(head) = &mut self.head else {
                match self.next_head(bodiless)? {
                    Some(Head { status: 100, .. }) => self.continues += 1,
                    Some(head) => self.head = Some(head),
                    None => return Ok(None),
                }
                continue;
            };
            match head.framing {
                Framing::Length(length) => {
                    if self.input.len() < length {
                        return Ok(None);
                    }
                    self.body = self.input.drain(..length).collect();
                    return Ok(self.whole());
                }
                Framing::UntilClose => return Ok(None),
                Framing::Chunked => {
                    let Some((length, start)) = chunk_size(&self.input)? else { return Ok(None) };
                    if length == 0 {
                        head.framing = Framing::Trailers;
                        self.input.drain(..start);
                        continue;
                    }
                    if self.input.len() < start + length + 2 {
                        return Ok(None);
                    }
                    if &self.input[start + length..start + length + 2] != b"\r\n" {
                        return Err("a chunk does not end where its size says".to_owned());
                    }
                    self.body.extend_from_slice(&self.input[start..start + length]);
                    self.input.drain(..start + length + 2);
                }
                Framing::Trailers => {
                    if self.input.len() < 2 {
                        return Ok(None);
                    }
                    if !self.input.starts_with(b"\r\n") {
                        return Err("something follows the last chunk".to_owned());
                    }
                    self.input.drain(..2);
                    return Ok(self.whole());
                }
            }
        }
    }

    /// The response that ends with the connection, if there is one.
    pub(super) fn at_end(&mut self) -> Option<Reply> {
        self.head.as_ref().is_some_and(|head| head.framing == Framing::UntilClose).then(|| {
            self.body = std::mem::take(&mut self.input);
            self.whole()
        })?
    }

    fn whole(&mut self) -> Option<Reply> {
        let Head { status, closes, .. } = self.head.take()?;
        Some(Reply { status, body: std::mem::take(&mut self.body), closes })
    }

    fn next_head(&mut self, bodiless: bool) -> Result<Option<Head>, String> {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let begins = b"HTTP/1.1 ";
        let known = self.input.len().min(begins.len());
        if self.input[..known] != begins[..known] {
            return Err(format!("no response begins with {:?}", shown(&self.input)));
        }
        let Some(end) = self.input.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head: Vec<u8> = self.input.drain(..end + 4).collect();
        let text = str::from_utf8(&head).map_err(|_| "a head is no text".to_owned())?;
        let status: u16 = text[9..12].parse().map_err(|_| format!("no status: {:?}", shown(&head)))?;
        let field = |name: &str| {
            text.lines().skip(1).filter_map(move |line| line.split_once(": ")).find_map(|(found, value)| {
                found.eq_ignore_ascii_case(name).then(|| value.to_ascii_lowercase())
            })
        };
        if status == 100 {
            return Ok(Some(Head { status, framing: Framing::Length(0), closes: false }));
        }
        // A server that has no place says so without a look at the method.
        let bodiless = bodiless && field("retry-after").is_none();
        let framing = match (field("content-length"), field("transfer-encoding")) {
            _ if bodiless || status == 204 => Framing::Length(0),
            (Some(length), None) => {
                Framing::Length(length.parse().map_err(|_| format!("a length of {length:?}"))?)
            }
            (None, Some(coding)) if coding == "chunked" => Framing::Chunked,
            (None, None) => Framing::UntilClose,
            _ => return Err(format!("framed twice: {:?}", shown(&head))),
        };
        let closes = field("connection").is_some_and(|value| value == "close");
        Ok(Some(Head { status, framing, closes }))
    }
}

/// The size of the chunk that begins here, and where its data does.
fn chunk_size(input: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let Some(end) = input.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
    let digits = str::from_utf8(&input[..end]).map_err(|_| "a chunk's size is no text".to_owned())?;
    let size = usize::from_str_radix(digits, 16).map_err(|_| format!("a chunk of {digits:?} bytes"))?;
    Ok(Some((size, end + 2)))
}
