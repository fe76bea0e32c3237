//! Real handshakes on loopback: who gets in, who does not.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, service::Routes};

use super::*;
use crate::{
    failure::Failure,
    tls::{
        client::{self, ClientTls},
        peer::Peer,
    },
    v1::{
        self,
        system_client::SystemClient,
        system_server::{System, SystemServer},
    },
};

struct Authority {
    pem: String,
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().to_vec(), issuer: Issuer::new(params, key) }
    }

    fn issue(&self, uri: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = format!("{}{}", certificate.pem(), self.pem);
        Identity::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn roots(&self) -> Roots {
        Roots::from_pem(self.pem.as_bytes()).unwrap()
    }
}

/// Answers with the name of its caller.
struct WhoAmI;

#[tonic::async_trait]
impl System for WhoAmI {
    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        let info = request.extensions().get::<ConnectInfo>().unwrap();
        let caller = match &info.peer {
            Some(certificate) => certificate.peer.spiffe_id(&certificate.trust_domain),
            None => "nobody".into(),
        };
        Ok(Response::new(v1::StatusResponse { caller, ..Default::default() }))
    }
}

async fn serve(tls: ServerTls) -> (String, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_routes(Routes::new(SystemServer::new(WhoAmI)));
    tokio::spawn(server.serve_with_incoming(incoming(listener, tls)));
    (format!("https://{address}"), address)
}

async fn ask(url: &str, tls: &ClientTls) -> Result<String, Failure> {
    let mut client = SystemClient::new(client::connect(url, tls).await?);
    let answer = client.status(v1::StatusRequest {}).await;
    answer.map(|response| response.into_inner().caller).map_err(|status| Failure::from_status(&status))
}

#[tokio::test]
async fn only_certificates_of_the_own_authority_get_in() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = ours.issue(&Peer::ControlPlane.spiffe_id("td"));
    let (url, _) = serve(ServerTls::mutual(&server, &ours.roots()).unwrap()).await;

    let edge = "spiffe://td/edge/e1";
    let good = ClientTls::new(&ours.issue(edge), &ours.roots()).unwrap();
    assert_eq!(ask(&url, &good).await.unwrap(), edge);

    let stranger = ClientTls::new(&theirs.issue(edge), &ours.roots()).unwrap();
    assert!(ask(&url, &stranger).await.is_err());
    let wrong_server = ClientTls::new(&ours.issue(edge), &theirs.roots()).unwrap();
    assert!(ask(&url, &wrong_server).await.is_err());
    let other_domain = ClientTls::new(&ours.issue("spiffe://other/edge/e1"), &ours.roots()).unwrap();
    let error = ask(&url, &other_domain).await.unwrap_err();
    assert!(error.message.contains("trust domain"), "{error}");
    let nobody = ClientTls::pinned(nla_domain::join::CaPin::of(&ours.der)).unwrap();
    assert!(ask(&url, &nobody).await.is_err(), "a client without a certificate");

    // A replaced identity is used by the next connection.
    stranger.replace(&ours.issue("spiffe://td/operator/ada"), &ours.roots()).unwrap();
    assert_eq!(ask(&url, &stranger).await.unwrap(), "spiffe://td/operator/ada");
}

#[tokio::test]
async fn an_edge_is_no_control_plane() {
    let ours = Authority::new();
    let impostor = ours.issue("spiffe://td/edge/e2");
    let (url, _) = serve(ServerTls::server_only(&impostor).unwrap()).await;
    let edge = ClientTls::new(&ours.issue("spiffe://td/edge/e1"), &ours.roots()).unwrap();
    let error = ask(&url, &edge).await.unwrap_err();
    assert!(error.message.contains("not one of a control plane"), "{error}");
}

#[tokio::test]
async fn the_pin_of_a_join_token_is_enough_and_necessary() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = ours.issue(&Peer::ControlPlane.spiffe_id("td"));
    let (url, _) = serve(ServerTls::server_only(&server).unwrap()).await;
    let pin = |authority: &Authority| ClientTls::pinned(nla_domain::join::CaPin::of(&authority.der)).unwrap();
    assert_eq!(ask(&url, &pin(&ours)).await.unwrap(), "nobody");
    assert!(ask(&url, &pin(&theirs)).await.is_err());
}

#[tokio::test]
async fn garbage_does_not_disturb_others() {
    let ours = Authority::new();
    let server = ours.issue(&Peer::ControlPlane.spiffe_id("td"));
    let (url, address) = serve(ServerTls::mutual(&server, &ours.roots()).unwrap()).await;
    let mut silent = Vec::new();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4_096], &[0x16, 3, 1, 0xff, 0xff]] {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        silent.push(tcp);
    }
    let edge = ClientTls::new(&ours.issue("spiffe://td/edge/e1"), &ours.roots()).unwrap();
    ask(&url, &edge).await.unwrap();
    // What is no TLS at all is closed at once, not after the deadline.
    let mut rest = Vec::new();
    let _ = silent[0].read_to_end(&mut rest).await;
}

#[tokio::test]
async fn the_accept_loop_ends_with_its_stream() {
    let ours = Authority::new();
    let tls = ServerTls::server_only(&ours.issue(&Peer::ControlPlane.spiffe_id("td"))).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut stream = incoming(listener, tls);
    let waiting = timeout(Duration::from_millis(1), stream.next()).await;
    assert!(waiting.is_err(), "nobody has connected");
    drop(stream);
    // The port is free again once the loop has ended.
    timeout(Duration::from_secs(5), async {
        while TcpListener::bind(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_connection_that_stays_for_nothing_makes_room_for_the_next() {
    let ours = Authority::new();
    let tls = ServerTls::server_only(&ours.issue(&Peer::ControlPlane.spiffe_id("td"))).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let life = Duration::from_millis(300);
    let bounds = Bounds { connections: 1, life: Some(life) };
    let server = tonic::transport::Server::builder().add_routes(Routes::new(SystemServer::new(WhoAmI)));
    tokio::spawn(server.serve_with_incoming(incoming_within(listener, tls, bounds)));
    let anyone = ClientTls::pinned(nla_domain::join::CaPin::of(&ours.der)).unwrap();
    let began = std::time::Instant::now();
    let _idle = client::connect(&url, &anyone).await.unwrap();
    assert_eq!(ask(&url, &anyone).await.unwrap(), "nobody");
    assert!(began.elapsed() >= life, "there was room for one connection only");
}
