//! One side of a connection, as Asterisk writes it: `FAMILY/TRANSPORT/ADDRESS/PORT`.

use std::net::IpAddr;

use crate::model::security::{Endpoint, Transport};

/// Reads `IPV4/UDP/198.18.0.16/37506`. Where Asterisk does not know the transport, it leaves it out.
pub(super) fn endpoint(value: &[u8]) -> Option<Endpoint> {
    let mut parts = std::str::from_utf8(value).ok()?.splitn(4, '/');
    let (family, second) = (parts.next()?, parts.next()?);
    let (third, fourth) = (parts.next()?, parts.next());
    let (transport, address, port) = match fourth {
        Some(port) => (transport(second)?, third, port),
        None => (Transport::Unknown, second, third),
    };
    let address = match family {
        "IPV4" => IpAddr::V4(address.parse().ok()?),
        "IPV6" => IpAddr::V6(address.split('%').next()?.parse().ok()?).to_canonical(),
        _ => return None,
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| port.parse().ok()).flatten().map(|port| Endpoint { address, transport, port })
}

fn transport(name: &str) -> Option<Transport> {
    Some(match name {
        "UDP" => Transport::Udp,
        "TCP" => Transport::Tcp,
        "TLS" => Transport::Tls,
        "WS" => Transport::Ws,
        "WSS" => Transport::Wss,
        new if !new.is_empty() && new.bytes().all(|byte| byte.is_ascii_uppercase()) => Transport::Unknown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_in_four() {
        let read = |text: &str| endpoint(text.as_bytes()).map(|e| (e.address.to_string(), e.transport, e.port));
        assert_eq!(read("IPV4/UDP/198.18.0.16/37506"), Some(("198.18.0.16".into(), Transport::Udp, 37506)));
        assert_eq!(read("IPV6/TLS/2001:db8:18::16/1"), Some(("2001:db8:18::16".into(), Transport::Tls, 1)));
        assert_eq!(read("IPV6/UDP/fe80::1%vastpbx/2"), Some(("fe80::1".into(), Transport::Udp, 2)));
        assert_eq!(read("IPV6/TCP/::ffff:192.0.2.1/2"), Some(("192.0.2.1".into(), Transport::Tcp, 2)));
        assert_eq!(read("IPV4/SCTP/198.18.0.16/5060"), Some(("198.18.0.16".into(), Transport::Unknown, 5060)));
        assert_eq!(read("IPV4/198.18.0.16/5060"), Some(("198.18.0.16".into(), Transport::Unknown, 5060)));
        for nonsense in ["IPV4/UDP/x/1", "IPV4//203.0.113.9/5", "IPV4/UDP/1.2.3.4/", "IPV4/UDP/1.2.3.4/70000", "", "x"]
        {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
