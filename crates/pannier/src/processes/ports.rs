//! Ports that a replica can have again after it was killed.
//!
//! A gateway knows replicas by address, so one that comes back must be where it was. A port that
//! the system chooses lies among those that it also gives to outgoing connections: while its owner
//! is dead, somebody else may get it, or dial itself. So ports are taken from below that range,
//! each looked at before it is used.

use crate::fail::Fail;
use pannier_replica::doors::chance;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below what Linux (32768) and others (49152) give to outgoing connections.
const FROM: u16 = 20_000;
const PORTS: u16 = 12_000;

/// `count` free ports of the loopback address, all different.
pub fn free(count: usize) -> Result<Vec<SocketAddr>, Fail> {
    let begin = (chance::bits()? % u64::from(PORTS)) as u16;
    let mut held = Vec::new();
    for step in 0..PORTS {
        let port = FROM + (begin + step) % PORTS;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((SocketAddr::from((Ipv4Addr::LOCALHOST, port)), listener));
        }
        if held.len() == count {
            return Ok(held.into_iter().map(|(address, _)| address).collect());
        }
    }
    Err(Fail::Away(format!("no {count} free ports from {FROM} on")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_free_different_and_out_of_the_way() {
        let ports = free(6).unwrap();
        let held: Vec<_> = ports.iter().map(|port| TcpListener::bind(port).unwrap()).collect();
        assert_eq!(held.len(), 6);
        assert!(ports.iter().all(|it| (20_000..32_000).contains(&it.port())));
        assert!(free(2).unwrap().iter().all(|port| !ports.contains(port)));
    }
}
