//! Something between the edge and the real server that writes down what the edge
//! sends, and may change a word of it.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Ends with its value.
pub(crate) struct Between {
    port: u16,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Between {
    /// Replaces `word` by another of the same length wherever the edge sends it.
    pub(crate) async fn start(server: u16, word: &'static str, other: &'static str) -> Self {
        assert_eq!(word.len(), other.len());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let log = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            while let Ok((mut edge, _)) = listener.accept().await {
                let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                server.set_nodelay(true).unwrap();
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let (mut from_edge, mut to_edge) = edge.split();
                    let (mut from_server, mut to_server) = server.split();
                    let there = async {
                        let mut chunk = vec![0; 1 << 16];
                        while let Ok(length @ 1..) = from_edge.read(&mut chunk).await {
                            let mut sent = chunk[..length].to_vec();
                            log.lock().unwrap().push(sent.clone());
                            let places: Vec<usize> =
                                (0..sent.len()).filter(|&at| sent[at..].starts_with(word.as_bytes())).collect();
                            for at in places {
                                sent[at..at + word.len()].copy_from_slice(other.as_bytes());
                            }
                            if to_server.write_all(&sent).await.is_err() {
                                break;
                            }
                        }
                    };
                    let back = tokio::io::copy(&mut from_server, &mut to_edge);
                    // Whoever ends first ends both.
                    tokio::select! { () = there => {} _ = back => {} }
                });
            }
        });
        Self { port, sent, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What the edge has sent so far, piece by piece, and no more of it later.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}
