//! Free loopback ports that stay free while their server is down: from below
//! the range out of which systems give ports to outgoing connections (32768 and
//! up on Linux), so that a server which stops can come back where it was.

use std::{
    io,
    net::{Ipv4Addr, TcpStream},
};

use uuid::Uuid;

/// Above the ports of well-known services, below the outgoing ones.
const RANGE: std::ops::Range<u16> = 15_000..32_000;
/// With a few hundred ports in use, about one try in fifty finds one of them.
const TRIES: usize = 100;

/// A port on which nobody listens at the moment. Asked by connecting and not by
/// listening: a program that another thread starts meanwhile would inherit the
/// listener for a moment and keep the port taken.
///
/// # Errors
/// When none was free.
pub fn free_port() -> io::Result<u16> {
    for _ in 0..TRIES {
        let random = Uuid::new_v4();
        let random = u16::from_le_bytes([random.as_bytes()[0], random.as_bytes()[1]]);
        let port = RANGE.start + random % (RANGE.end - RANGE.start);
        let listening = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        if listening.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return Ok(port);
        }
    }
    Err(io::Error::other("no free port was found"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn ports_are_free_and_not_those_of_outgoing_connections() {
        for _ in 0..50 {
            let port = free_port().unwrap();
            assert!(RANGE.contains(&port), "{port}");
            assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "{port}");
        }
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(TcpStream::connect(taken.local_addr().unwrap()).is_ok(), "the question finds a listener");
    }
}
