//! One case of the corpus: the bytes of a request, and what has to become of them.

/// One case.
pub(crate) struct Case {
    /// The section that decides, such as `9112 6.3` for RFC 9112 section 6.3.
    pub(crate) rule: &'static str,
    /// What is special about the request; unique within its theme.
    pub(crate) name: String,
    /// The request as it is sent.
    pub(crate) bytes: Vec<u8>,
    pub(crate) verdict: Verdict,
}

/// What has to become of a request.
pub(crate) enum Verdict {
    /// It reaches the application, parsed so.
    Accepted(Parsed),
    /// It is answered with one of these statuses, and the connection is closed: nothing behind it is read.
    Refused(&'static [u16]),
    /// The engine answers with one of these statuses in the application's place; the connection may go on.
    Answered(&'static [u16]),
    /// It is not all there: nothing answers it, and when the peer sends no more it has failed.
    Incomplete,
}

/// What the application is to see of an accepted request. Method, target and fields follow from the case's own
/// bytes (`runner::written`), since those of a good request are what stands there.
pub(crate) struct Parsed {
    pub(crate) version: &'static str,
    /// The host it is addressed to, where the case is about that.
    pub(crate) host: Option<&'static str>,
    /// Values of fields that the case is about, in order.
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    /// It is the last one on its connection.
    pub(crate) closes: bool,
    /// The body is sent only after `100 (Continue)`. Otherwise no interim answer may come.
    pub(crate) continues: bool,
}

/// A request that is served, of HTTP/1.1, without a body, on a connection that persists.
pub(crate) fn accept(rule: &'static str, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Case {
    let parsed = Parsed {
        version: "HTTP/1.1",
        host: None,
        fields: Vec::new(),
        body: Vec::new(),
        closes: false,
        continues: false,
    };
    Case { rule, name: name.into(), bytes: bytes.into(), verdict: Verdict::Accepted(parsed) }
}

/// A request that is refused with 400.
pub(crate) fn refuse(rule: &'static str, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Case {
    Case { rule, name: name.into(), bytes: bytes.into(), verdict: Verdict::Refused(&[400]) }
}

/// A request of which the end is missing.
pub(crate) fn incomplete(rule: &'static str, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Case {
    Case { rule, name: name.into(), bytes: bytes.into(), verdict: Verdict::Incomplete }
}

impl Case {
    /// Refused with one of these instead; several where the rules leave the choice.
    pub(crate) fn with(mut self, statuses: &'static [u16]) -> Self {
        assert!(matches!(self.verdict, Verdict::Refused(_)), "{}: only a refusal has a status", self.name);
        self.verdict = Verdict::Refused(statuses);
        self
    }

    /// Answered by the engine with one of these, the connection going on or not.
    pub(crate) fn answered(mut self, statuses: &'static [u16]) -> Self {
        self.verdict = Verdict::Answered(statuses);
        self
    }

    pub(crate) fn version(mut self, version: &'static str) -> Self {
        self.parsed().version = version;
        self
    }

    pub(crate) fn host(mut self, host: &'static str) -> Self {
        self.parsed().host = Some(host);
        self
    }

    pub(crate) fn field(mut self, name: &'static str, value: &'static str) -> Self {
        self.parsed().fields.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.parsed().body = body.into();
        self
    }

    pub(crate) fn closes(mut self) -> Self {
        self.parsed().closes = true;
        self
    }

    pub(crate) fn continues(mut self) -> Self {
        self.parsed().continues = true;
        self
    }

    fn parsed(&mut self) -> &mut Parsed {
        match &mut self.verdict {
            Verdict::Accepted(parsed) => parsed,
            _ => panic!("{}: only an accepted request is parsed", self.name),
        }
    }
}

/// A GET request with these field lines, each with its end, and a good Host.
pub(crate) fn get(fields: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: kiang.test\r\n", fields.as_ref(), b"\r\n"].concat()
}

/// A POST request with these field lines, each with its end, a good Host, and what follows the head.
pub(crate) fn post(fields: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    [b"POST / HTTP/1.1\r\nHost: kiang.test\r\n", fields.as_ref(), b"\r\n", body.as_ref()].concat()
}

/// A POST request with a chunked body, written as given.
pub(crate) fn chunked(body: impl AsRef<[u8]>) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A request of this line, with a good Host.
pub(crate) fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\nHost: kiang.test\r\n\r\n"].concat()
}

/// Bytes as they are to be read in a name or a message.
pub(crate) fn shown(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().escape_ascii().to_string()
}
