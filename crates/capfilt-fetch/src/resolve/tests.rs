use std::str::FromStr;

use super::*;

struct Fixed(Vec<IpAddr>);

impl Lookup for Fixed {
    fn lookup(
        &self,
        _: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>>> {
        let found = self.0.clone();
        async move { Ok(found) }.boxed()
    }
}

async fn guarded(found: &[&str], allowed: &[&str]) -> Result<Vec<String>, String> {
    let found = found.iter().map(|address| address.parse().unwrap());
    let allowed: Vec<_> = allowed.iter().map(|one| one.parse().unwrap()).collect();
    let guard = Guard::new(Arc::new(Fixed(found.collect())), Networks::new(&allowed));
    let name = Name::from_str("example.org").unwrap();
    match guard.resolve(name).await {
        Ok(addresses) => Ok(addresses.map(|address| address.ip().to_string()).collect()),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn forbidden_answers_are_left_out() {
    let public = ["93.184.216.34", "2606:4700::1111"];
    assert_eq!(guarded(&public, &[]).await.unwrap(), public);
    let mixed = ["10.0.0.1", "93.184.216.34", "::1"];
    assert_eq!(guarded(&mixed, &[]).await.unwrap(), ["93.184.216.34"]);
    assert_eq!(
        guarded(&mixed, &["10.0.0.0/8"]).await.unwrap(),
        ["10.0.0.1", "93.184.216.34"]
    );
}

#[tokio::test]
async fn a_name_with_forbidden_addresses_alone_is_an_error_that_says_which() {
    assert_eq!(
        guarded(&["169.254.169.254"], &[]).await.unwrap_err(),
        "the name has no address that may be reached: 169.254.169.254 is link-local"
    );
    assert_eq!(
        guarded(&[], &[]).await.unwrap_err(),
        "the name has no addresses"
    );
}

/// A name server on loopback: real sockets, real messages.
mod server {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
    use hickory_resolver::proto::rr::{RData, Record, RecordType};
    use tokio::net::UdpSocket;
    use tokio::task::JoinSet;

    pub(super) struct NameServer {
        pub(super) address: SocketAddr,
        pub(super) questions: Arc<AtomicUsize>,
        _task: JoinSet<()>,
    }

    impl NameServer {
        /// Knows `known.test`, and of nothing else.
        pub(super) async fn start() -> Self {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = socket.local_addr().unwrap();
            let questions = Arc::<AtomicUsize>::default();
            let counted = Arc::clone(&questions);
            let mut task = JoinSet::new();
            task.spawn(async move {
                let mut buffer = [0; 4_096];
                while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                    let mut message = Message::from_vec(&buffer[..length]).unwrap();
                    counted.fetch_add(1, Ordering::Relaxed);
                    message.metadata.message_type = MessageType::Response;
                    let query = message.queries[0].clone();
                    let known = query.name().to_ascii().eq_ignore_ascii_case("known.test.");
                    if !known {
                        message.metadata.response_code = ResponseCode::NXDomain;
                    } else if query.query_type() == RecordType::A {
                        let address = RData::A(Ipv4Addr::new(93, 184, 216, 34).into());
                        message.add_answer(Record::from_rdata(query.name().clone(), 1, address));
                    }
                    socket
                        .send_to(&message.to_vec().unwrap(), from)
                        .await
                        .unwrap();
                }
            });
            Self {
                address,
                questions,
                _task: task,
            }
        }

        pub(super) fn asked(&self) -> usize {
            self.questions.swap(0, Ordering::Relaxed)
        }
    }

    pub(super) fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}

#[tokio::test]
async fn answers_are_cached_also_that_there_is_none() {
    use server::{NameServer, ip};
    let server = NameServer::start().await;
    let mut config = NameServerConfig::udp(server.address.ip());
    config.connections[0].port = server.address.port();
    let dns = Dns::asking(ResolverConfig::from_name_servers(vec![config])).unwrap();
    for _ in 0..3 {
        assert_eq!(
            dns.lookup("known.test").await.unwrap(),
            [ip("93.184.216.34")]
        );
    }
    assert_eq!(server.asked(), 1);
    for _ in 0..3 {
        dns.lookup("unknown.test").await.unwrap_err();
    }
    // An A and an AAAA question, each once.
    assert!(server.asked() <= 2);
    // Absolute names: no search list, and the dot at the end makes no other name.
    dns.lookup("KNOWN.test.").await.unwrap();
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn a_name_of_this_machine_is_no_way_around_the_guard() {
    let dns = Dns::new(&[]).unwrap();
    let guard = Guard::new(Arc::new(dns), Networks::default());
    for name in ["localhost", "localhost.", "a.localhost"] {
        let name = Name::from_str(name).unwrap();
        assert!(guard.resolve(name).await.is_err());
    }
}
