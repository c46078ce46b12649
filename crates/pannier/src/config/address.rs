//! Addresses, members and names, as they are typed.

use orset::Member;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use uuid::Uuid;

/// The longest name of a cluster or a zone, in bytes.
pub const NAME_MAX: usize = 64;
/// The longest host name (RFC 1035).
const HOST_MAX: usize = 253;

/// Another member, and where its inner listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which member.
    pub member: Member,
    /// `host:port`.
    pub address: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.member, self.address)
    }
}

/// A member: a UUID.
pub fn member(text: &str) -> Result<Member, String> {
    let uuid = Uuid::parse_str(text.trim());
    uuid.map(Member::from).map_err(|error| format!("{text:?} is no member (a UUID): {error}"))
}

/// A peer: `MEMBER=HOST:PORT`.
pub fn peer(text: &str) -> Result<Peer, String> {
    let Some((name, address)) = text.split_once('=') else {
        return Err(format!("{text:?} is no peer; write it as MEMBER=HOST:PORT"));
    };
    Ok(Peer { member: member(name)?, address: remote(address)? })
}

/// Where to listen: an IP address and a port, 0 for any free one.
pub fn local(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Some(port) = text.strip_prefix("localhost:")
        && let Ok(port) = port.parse()
    {
        return Ok((IpAddr::V4(Ipv4Addr::LOCALHOST), port).into());
    }
    text.parse().map_err(|_| {
        format!("{text:?} is no address to listen at; write IP:PORT, as 127.0.0.1:7400")
    })
}

/// Where to find somebody: a host (a name or an IP address) and a port.
pub fn remote(text: &str) -> Result<String, String> {
    let text = text.trim();
    let wrong = || format!("{text:?} is no address; write HOST:PORT, as 127.0.0.1:7400");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let good = match bare {
        Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
        None => (1..=HOST_MAX).contains(&host.len()) && host.chars().all(named),
    };
    match port.parse::<u16>() {
        Ok(port) if good && port > 0 => Ok(format!("{host}:{port}")),
        Ok(_) | Err(_) => Err(wrong()),
    }
}

/// The name of a cluster or a zone: 1 to 64 bytes that print.
pub fn name(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("it is empty".into()),
        1..=NAME_MAX if text.chars().any(char::is_control) => {
            Err("it has a control character".into())
        }
        1..=NAME_MAX => Ok(text.to_owned()),
        length => Err(format!("it has {length} bytes, at most {NAME_MAX} are allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_at() {
        assert_eq!(local("127.0.0.1:0").map(|it| it.to_string()), Ok("127.0.0.1:0".into()));
        assert_eq!(local(" [::1]:7400 ").map(|it| it.to_string()), Ok("[::1]:7400".into()));
        assert_eq!(local("localhost:7400").map(|it| it.to_string()), Ok("127.0.0.1:7400".into()));
        for bad in ["", "7400", "127.0.0.1", "localhost", "host:7400", "1.2.3.4:70000"] {
            assert!(local(bad).unwrap_err().contains("IP:PORT"), "{bad}");
        }
    }

    #[test]
    fn addresses_of_others() {
        for good in ["127.0.0.1:1", "eu-1.shop.internal:7401", "[::1]:65535"] {
            assert_eq!(remote(good).as_deref(), Ok(good));
        }
        for bad in ["", ":7400", "host", "host:", "host:0", "host:70000", "a b:1", "::1:1", "[x]:1"]
        {
            assert!(remote(bad).unwrap_err().contains("HOST:PORT"), "{bad}");
        }
        assert!(remote(&format!("{}:1", "x".repeat(300))).is_err());
    }

    #[test]
    fn peers_and_members() {
        let text = "01010101-0101-0101-0101-010101010101=127.0.0.1:7401";
        let one = peer(text).unwrap();
        assert_eq!((one.member, one.to_string().as_str()), (Member::from_bytes([1; 16]), text));
        assert!(peer("127.0.0.1:7401").unwrap_err().contains("MEMBER=HOST:PORT"));
        assert!(peer("eu=127.0.0.1:7401").unwrap_err().contains("\"eu\" is no member"));
        assert!(peer("01010101-0101-0101-0101-010101010101=here").unwrap_err().contains("HOST"));
    }

    #[test]
    fn names() {
        assert_eq!(name("shop").as_deref(), Ok("shop"));
        for (bad, says) in [("", "empty"), ("a\nb", "control"), (&"x".repeat(65), "65 bytes")] {
            assert!(name(bad).unwrap_err().contains(says), "{bad}");
        }
    }
}
