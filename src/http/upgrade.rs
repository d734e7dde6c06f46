//! Switching to another protocol on the same connection (RFC 9110 section 7.8).

use crate::bytes::Bytes;
use crate::error::Result;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The other protocol's part: called with the connection once the switch has been answered.
pub(crate) type Continue = Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A protocol to switch to, and the function that speaks it.
pub(crate) struct Upgrade {
    pub(crate) protocol: Bytes,
    pub(crate) then: Continue,
}

/// A connection that HTTP has left: bytes in, bytes out. Dropping it closes the connection.
pub struct Upgraded(Box<dyn Io>);

/// The connection as its server has it.
pub(crate) trait Io {
    /// Bytes that have arrived; empty at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes>>;

    /// Begins to send these bytes, once those before have left.
    fn poll_write(&mut self, bytes: &mut Bytes, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Ready when all has left.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;
}

impl Upgraded {
    pub(crate) fn new(io: impl Io + 'static) -> Self {
        Self(Box::new(io))
    }

    /// The bytes that have arrived, in order; `None` when the peer has ended its side, or the server drains.
    ///
    /// This waits for as long as the peer is silent: a protocol that wants a bound sets its own.
    pub async fn read(&mut self) -> Result<Option<Bytes>> {
        let bytes = poll_fn(|cx| self.0.poll_read(cx)).await?;
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// Sends these bytes; done when the kernel has taken them. The server's write deadline applies.
    pub async fn write(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        let mut bytes = bytes.into();
        while !bytes.is_empty() {
            poll_fn(|cx| self.0.poll_write(&mut bytes, cx)).await?;
        }
        poll_fn(|cx| self.0.poll_sent(cx)).await
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgraded")
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upgrade({:?})", self.protocol)
    }
}
