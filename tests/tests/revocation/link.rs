//! The way of an edge to its control plane, which a test can block: nothing is
//! closed, and what was sent meanwhile arrives when it is open again.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

pub(crate) struct Link {
    pub(crate) port: u16,
    open: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// To a port of this machine.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = watch::Sender::new(true);
        let watching = open.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (from, _) = listener.accept().await.unwrap();
                // Refused while the control plane is down, as it would be without us.
                let Ok(to) = TcpStream::connect(("127.0.0.1", target)).await else { continue };
                let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
                tokio::spawn(pump(from_read, to_write, watching.subscribe()));
                tokio::spawn(pump(to_read, from_write, watching.subscribe()));
            }
        });
        Self { port, open, accepting }
    }

    pub(crate) fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut open: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        // Without a sender the test is over.
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    // The other side sees the end; what it still sends goes nowhere.
    drop(to);
    let _ = copy(&mut from, &mut tokio::io::sink()).await;
}
