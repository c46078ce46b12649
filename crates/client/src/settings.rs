//! The knobs of a client: plain data, checked as a whole.

use crate::core::{CoreSettings, Mode};
use crate::error::Error;
use std::time::Duration;
use tonic::transport::Endpoint;

/// The knobs of a client.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Gateways or replicas, `host:port` or `http://host:port`. The first is used; when it is gone,
    /// the next, and so on round.
    pub endpoints: Vec<String>,
    /// What a new session does when a replica lacks what it has read.
    pub mode: Mode,
    /// How long a call may take, everything included, unless it says otherwise.
    pub deadline: Duration,
    /// On how many other members a change must be synced before it is answered, when neither it nor
    /// its session says. 0: on the disk of the replica that answers alone.
    pub peers: u32,
    /// Calls under way at once; more wait. A call that is larger than 16 KiB takes the place of
    /// several, so that this bounds their memory as well.
    pub calls_max: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Time between two signs of life that are asked of a connection, and how long each may take: a
    /// machine that is cut off is found out after both.
    pub keep_alive: (Duration, Duration),
    /// Largest message that is taken from a server, in bytes.
    pub answer_bytes_max: usize,
    /// Lines of a cart, or elements of a set, that `read` puts together from pages.
    pub read_lines_max: usize,
    /// Watches at once.
    pub watches_max: usize,
    /// Those of the core; its `endpoints` is set by `connect`.
    pub core: CoreSettings,
}

/// What one place under way may hold.
pub(crate) const SLOT_BYTES: usize = 16 << 10;

/// The fewest calls: the largest command must fit.
const CALLS_MIN: usize = 512;

impl ClientSettings {
    /// The defaults, for these addresses.
    pub fn new<T: Into<String>>(endpoints: impl IntoIterator<Item = T>) -> Self {
        let endpoints: Vec<String> = endpoints.into_iter().map(Into::into).collect();
        Self {
            core: CoreSettings::new(endpoints.len()),
            endpoints,
            mode: Mode::default(),
            deadline: Duration::from_secs(10),
            peers: 0,
            calls_max: 4_096,
            connect_timeout: Duration::from_secs(1),
            keep_alive: (Duration::from_secs(2), Duration::from_secs(2)),
            answer_bytes_max: 64 << 20,
            read_lines_max: 100_000,
            watches_max: 4_096,
        }
    }

    /// Checks them and turns addresses into what is dialled.
    pub(crate) fn check(&mut self) -> Result<Vec<Endpoint>, Error> {
        self.core.endpoints = self.endpoints.len();
        self.core.validate().map_err(Error::Setting)?;
        let bounds = [
            ("calls_max", self.calls_max, CALLS_MIN, 1 << 20),
            ("answer_bytes_max", self.answer_bytes_max, 4 << 20, 1 << 30),
            ("read_lines_max", self.read_lines_max, 1, usize::MAX),
            ("watches_max", self.watches_max, 1, 1 << 20),
        ];
        for (name, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(Error::Setting(format!("{name} must be {least} to {most}")));
            }
        }
        let zero = [
            ("deadline", self.deadline),
            ("connect_timeout", self.connect_timeout),
            ("keep_alive.0", self.keep_alive.0),
            ("keep_alive.1", self.keep_alive.1),
        ];
        for (name, value) in zero {
            if value.is_zero() {
                return Err(Error::Setting(format!("{name} must be more than 0")));
            }
        }
        self.endpoints.iter().map(|address| self.endpoint(address)).collect()
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, Error> {
        let bad = |why: String| Error::Setting(format!("endpoint {address:?}: {why}"));
        let uri =
            if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        if !uri.starts_with("http://") {
            return Err(bad("only http:// is spoken; TLS is not built yet".into()));
        }
        let endpoint = Endpoint::from_shared(uri).map_err(|error| bad(error.to_string()))?;
        if endpoint.uri().port().is_none() {
            return Err(bad("it names no port".into()));
        }
        Ok(endpoint
            .tcp_nodelay(true)
            .connect_timeout(self.connect_timeout)
            .http2_keep_alive_interval(self.keep_alive.0)
            .keep_alive_timeout(self.keep_alive.1)
            .keep_alive_while_idle(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut ClientSettings)) -> String {
        let mut settings = ClientSettings::new(["127.0.0.1:7400"]);
        change(&mut settings);
        match settings.check() {
            Err(Error::Setting(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_good() {
        let mut settings = ClientSettings::new(["127.0.0.1:7400", "http://shop.example:80"]);
        assert_eq!(settings.check().map(|endpoints| endpoints.len()), Ok(2));
    }

    #[test]
    fn what_is_out_of_bounds_names_itself() {
        let cases = [
            (refused(|s| s.endpoints.clear()), "endpoints"),
            (refused(|s| s.endpoints = vec!["nowhere".into()]), "no port"),
            (refused(|s| s.endpoints = vec!["https://a:1".into()]), "TLS"),
            (refused(|s| s.endpoints = vec!["a b:1".into()]), "a b:1"),
            (refused(|s| s.calls_max = 1), "calls_max"),
            (refused(|s| s.answer_bytes_max = 1), "answer_bytes_max"),
            (refused(|s| s.read_lines_max = 0), "read_lines_max"),
            (refused(|s| s.watches_max = 0), "watches_max"),
            (refused(|s| s.deadline = Duration::ZERO), "deadline"),
            (refused(|s| s.keep_alive.1 = Duration::ZERO), "keep_alive.1"),
            (refused(|s| s.core.streams = 0), "streams"),
            (refused(|s| s.core.streams = 99), "streams"),
            (refused(|s| s.core.batch_commands = 2_000), "batch_commands"),
            (refused(|s| s.core.stall_us = s.core.catch_up_us), "stall"),
            (refused(|s| s.core.backoff.max_us = 1), "backoff.max"),
        ];
        for (why, names) in cases {
            assert!(why.contains(names), "{why} should name {names}");
        }
    }
}
