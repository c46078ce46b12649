//! Where a call goes, and for whom: a data directory, or a cluster behind its gateway.

use crate::fail::Fail;
use crate::hex;
use orset::{NAMESPACE_MAX, check_name};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What names the gateway when `--gateway` does not.
pub const GATEWAY: &str = "PANNIER_GATEWAY";
/// What names the session's file when `--session` does not.
pub const SESSION: &str = "PANNIER_SESSION";

/// Flags of everything that reads or changes an object.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// The gateway (or the replica) to ask; else PANNIER_GATEWAY
    #[arg(long, global = true, value_name = "HOST:PORT", conflicts_with = "directory")]
    gateway: Option<String>,
    /// A replica's data directory, used in place of a gateway while no replica runs on it; a write
    /// makes it if it is not there
    #[arg(long, alias = "dir", global = true, value_name = "PATH")]
    directory: Option<PathBuf>,
    /// The namespace
    #[arg(long, global = true, value_name = "NAME", default_value = "shop")]
    namespace: OsString,
    /// A settings file (TOML) of limits, with --directory
    #[arg(long, global = true, value_name = "FILE", requires = "directory")]
    pub config: Option<PathBuf>,
    /// The file that keeps the session between calls; else PANNIER_SESSION, or one for each gateway
    /// under XDG_STATE_HOME
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "token")]
    session: Option<PathBuf>,
    /// The session to go on with, as an earlier answer gave it
    #[arg(long, global = true, value_name = "HEX")]
    token: Option<String>,
    /// How many milliseconds the call may take over the wire, everything included
    #[arg(long, global = true, value_name = "MS", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    within: u64,
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Into a data directory.
    Directory(PathBuf),
    /// To a gateway, or to a replica.
    Gateway(String),
}

/// Where the session comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// From a file, to which it goes back.
    File(PathBuf),
    /// From `--token`.
    Token(Vec<u8>),
    /// From nowhere: it begins.
    Not,
}

impl Place {
    /// The bytes of the namespace.
    pub fn namespace(&self) -> Result<&[u8], Fail> {
        let namespace = self.namespace.as_encoded_bytes();
        check_name("", namespace, NAMESPACE_MAX)
            .map_err(|error| super::ask::names("--namespace", error))?;
        Ok(namespace)
    }

    /// How long it may take.
    pub const fn within(&self) -> Duration {
        Duration::from_millis(self.within)
    }

    /// Where the call goes.
    pub fn target(&self) -> Result<Target, Fail> {
        if let Some(directory) = &self.directory {
            return Ok(Target::Directory(directory.clone()));
        }
        gateway(self.gateway.as_deref()).map(Target::Gateway)
    }

    /// Where the session comes from.
    pub fn kept(&self, target: &Target) -> Result<Kept, Fail> {
        if let Some(token) = &self.token {
            let bytes = hex::decode(token).map_err(|problem| Fail::of("--token", problem))?;
            return Ok(Kept::Token(bytes));
        }
        let named = || std::env::var_os(SESSION).filter(|path| !path.is_empty());
        match (&self.session, target) {
            (Some(path), _) => Ok(Kept::File(path.clone())),
            (None, Target::Directory(_)) => Ok(Kept::Not),
            (None, Target::Gateway(address)) => match named() {
                Some(path) => Ok(Kept::File(path.into())),
                None => file_of(address).map(Kept::File),
            },
        }
    }
}

/// The gateway's address, from `--gateway` or the environment.
pub fn gateway(flag: Option<&str>) -> Result<String, Fail> {
    let variable = std::env::var(GATEWAY).ok().filter(|address| !address.is_empty());
    let (name, address) = match (flag, &variable) {
        (Some(address), _) => ("--gateway", address),
        (None, Some(address)) => (GATEWAY, &**address),
        (None, None) => {
            let problem = format!(
                "name a gateway (here or by {GATEWAY}); `pannier dev --stay` starts one. With \
                 --directory, a replica's data directory is used instead"
            );
            return Err(Fail::of("--gateway", problem));
        }
    };
    crate::config::remote_address(address).map_err(|problem| Fail::of(name, problem))
}

/// One file for each gateway: a session belongs to its cluster.
fn file_of(address: &str) -> Result<PathBuf, Fail> {
    let set = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty());
    let state = set("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || set("HOME").map(|home| Path::new(&home).join(".local").join("state"));
    let Some(state) = state.or_else(home) else {
        let problem = "neither XDG_STATE_HOME nor HOME says where to keep it; name a file";
        return Err(Fail::of("--session", problem));
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' };
    let name: String = address.chars().map(plain).collect();
    Ok(state.join("pannier").join("sessions").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        place: Place,
    }

    fn place(words: &[&str]) -> Place {
        Line::try_parse_from([&["x"], words].concat()).unwrap().place
    }

    #[test]
    fn where_a_call_goes() {
        let target = |words: &[&str]| place(words).target();
        let gateway = Target::Gateway("127.0.0.1:7400".into());
        assert_eq!(target(&["--gateway", "127.0.0.1:7400"]), Ok(gateway));
        assert_eq!(target(&["--dir", "x"]), Ok(Target::Directory("x".into())));
        let error = target(&["--gateway", "nowhere"]).unwrap_err().to_string();
        assert!(error.starts_with("--gateway: \"nowhere\""), "{error}");
        assert!(Line::try_parse_from(["x", "--gateway", "a:1", "--directory", "d"]).is_err());
        assert!(Line::try_parse_from(["x", "--session", "f", "--token", "00"]).is_err());
    }

    #[test]
    fn where_a_session_is_kept() {
        let here = Target::Directory("d".into());
        assert_eq!(place(&[]).kept(&here), Ok(Kept::Not));
        assert_eq!(place(&["--session", "f"]).kept(&here), Ok(Kept::File("f".into())));
        assert_eq!(place(&["--token", "0aff"]).kept(&here), Ok(Kept::Token(vec![10, 255])));
        let error = place(&["--token", "x"]).kept(&here).unwrap_err().to_string();
        assert!(error.starts_with("--token"), "{error}");
    }
}
