//! A socket that stops after a number of bytes. `connect` puts it under
//! tokio-postgres, which collects a whole message before it hands it on.
//! Invariant: however large a value is, such a connection buffers no more of it
//! than it was allowed to read. Sessions bound their messages themselves.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Socket;

/// What a connection may still read. Shared by the socket and its user.
#[derive(Debug)]
pub(crate) struct Meter {
    left: AtomicU64,
    exhausted: AtomicBool,
}

impl Meter {
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(bytes), exhausted: AtomicBool::new(false) })
    }

    /// Allows this many bytes from now on.
    pub(crate) fn allow(&self, bytes: u64) {
        self.left.store(bytes, Ordering::Release);
    }

    /// True once the socket has stopped for want of allowance.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Acquire)
    }

    fn spend(&self, bytes: u64) {
        // Only the socket spends, and nobody allows while it reads for a
        // request, so the sum needs no loop.
        let left = self.left.load(Ordering::Acquire);
        self.left.store(left.saturating_sub(bytes), Ordering::Release);
    }
}

/// The socket under the meter.
pub(crate) struct Metered {
    socket: Box<dyn Socket>,
    meter: Arc<Meter>,
}

impl Metered {
    pub(crate) fn new(socket: Box<dyn Socket>, meter: Arc<Meter>) -> Self {
        Self { socket, meter }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.meter.left.load(Ordering::Acquire) == 0 {
            self.meter.exhausted.store(true, Ordering::Release);
            return Poll::Ready(Err(io::Error::other("the answer is larger than this request may read")));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        let bytes = buffer.filled().len().saturating_sub(before);
        self.meter.spend(u64::try_from(bytes).unwrap_or(u64::MAX));
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn it_stops_at_its_allowance_and_goes_on_when_allowed_more() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let meter = Meter::new(10);
        let mut metered = Metered::new(Box::new(ours), Arc::clone(&meter));
        theirs.write_all(&[1; 20]).await.unwrap();
        let mut first = [0; 10];
        metered.read_exact(&mut first).await.unwrap();
        assert!(metered.read_exact(&mut first).await.is_err());
        assert!(meter.is_exhausted());
        meter.allow(10);
        metered.read_exact(&mut first).await.unwrap();
    }
}
