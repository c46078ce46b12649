//! `pannier backup`: of a replica that serves, or of a directory that nothing has open.

use super::folder::{Folder, Sink, peek};
use super::told::Told;
use crate::admin::{self, Inner};
use crate::fail::Fail;
use crate::out::{Form, progress};
use orset::Member;
use pannier_proto::convert;
use pannier_proto::v1;
use pannier_proto::v1::backups_client::BackupsClient;
use pannier_replica::backup::{Chain, Link, Offline, TakeError, Wanted, Whole};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// How long a replica may take to be reached, and to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries at a backup whose view or log was outrun; all but the first without a pause.
const TRIES: u32 = 8;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(250);

/// Told of progress as often.
const TELL_BYTES: u64 = 64 << 20;

/// Flags of `backup`.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["of", "data"])))]
pub struct BackupArgs {
    /// The inner address of the replica to back up, which serves meanwhile
    #[arg(long, value_name = "HOST:PORT")]
    of: Option<String>,
    /// The data directory to back up, which nothing has open
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The folder to add the backup to; - for standard output
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Take a full one, also where an increment would do
    #[arg(long)]
    full: bool,
    /// Bytes a second at most that are read and sent; 0 for no limit. Slower disturbs clients less,
    /// and a view that is held for too long is outrun by what is written meanwhile
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    rate: u64,
}

/// Where a backup comes from.
enum Giver {
    Replica { client: BackupsClient<Channel>, address: String, rate: u64 },
    Directory(Box<Offline>),
}

/// Why there is no backup.
enum Not {
    /// An increment cannot be had.
    NeedsFull(String),
    /// Begin again.
    Outrun(Fail),
    Fail(Fail),
}

impl From<Fail> for Not {
    fn from(fail: Fail) -> Self {
        Self::Fail(fail)
    }
}

impl BackupArgs {
    /// Takes it; whether it is taken.
    pub async fn run(&self, form: Form) -> Result<bool, Fail> {
        if self.to == Path::new("-") {
            let mut from = self.source().await?;
            let sink = || Ok(Sink::new(BufWriter::new(io::stdout()), Chain::new()));
            let (_, whole) = match from.take(&Wanted::default(), sink).await {
                Ok(taken) => taken,
                Err(Not::NeedsFull(why)) => return Err(Fail::Away(why)),
                Err(Not::Outrun(fail) | Not::Fail(fail)) => return Err(fail),
            };
            progress(&Told::of(Path::new("-"), &whole).to_string());
            return Ok(true);
        }
        let (folder, _lock) = Folder::lock(&self.to)?;
        let mut from = self.source().await?;
        let (chain, wanted) = self.wanted(&folder, &from).await?;
        let mut why_full = String::new();
        let (file, whole) = match self.tried(&mut from, &folder, &wanted, &chain).await {
            Err(Not::NeedsFull(why)) => {
                progress(&format!("{why}. A full backup is taken instead"));
                why_full = why;
                let (wanted, chain) = (Wanted::default(), Chain::new());
                self.tried(&mut from, &folder, &wanted, &chain).await
            }
            taken => taken,
        }
        .map_err(|not| match not {
            Not::NeedsFull(why) => Fail::Away(why),
            Not::Outrun(fail) | Not::Fail(fail) => fail,
        })?;
        let name = folder.settle(&file, whole.header.is_full())?;
        form.print(&Told { why_full, ..Told::of(&name, &whole) })?;
        Ok(true)
    }

    async fn source(&self) -> Result<Giver, Fail> {
        if let Some(directory) = &self.data {
            let opened = Offline::open(directory);
            let opened = opened.map_err(|error| Fail::Storage(format!("--data: {error}")))?;
            return Ok(Giver::Directory(Box::new(opened)));
        }
        let address = self.of.as_deref().unwrap_or_default();
        let address =
            crate::config::remote_address(address).map_err(|what| Fail::of("--of", what))?;
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.map_err(|error| Fail::of("--of", error))?;
        // No limit for the whole: it may take an hour. Who has gone is noticed by its silence.
        let endpoint = endpoint.connect_timeout(PATIENCE).tcp_nodelay(true);
        let endpoint = endpoint.http2_keep_alive_interval(PATIENCE).keep_alive_timeout(PATIENCE);
        let client = BackupsClient::new(endpoint.connect_lazy());
        Ok(Giver::Replica { client, address, rate: self.rate })
    }

    /// What comes next in the folder, and what it goes on from.
    async fn wanted(&self, folder: &Folder, from: &Giver) -> Result<(Chain, Wanted), Fail> {
        let mut chain = Chain::new();
        if self.full || !folder.files.iter().any(|file| file.is_full) {
            return Ok((chain, Wanted::default()));
        }
        let Some(last) = folder.chain(None)?.last() else { return Ok((chain, Wanted::default())) };
        let (header, seal) = peek(&last.path).map_err(|fail| {
            let what = "it cannot be gone on from; --full begins a new chain";
            Fail::Storage(format!("{fail}; {what}"))
        })?;
        let (member, cluster) = from.whose().await?;
        if member != header.member || cluster != header.cluster {
            let what = format!(
                "{} holds backups of member {} of cluster {:?}, and this is member {member} of \
                 cluster {cluster:?}: name another folder",
                self.to.display(),
                header.member,
                header.cluster
            );
            return Err(Fail::of("--to", what));
        }
        let link = Link { index: header.link.index + 1, previous: seal };
        let wanted = Wanted { after: Some(header.to.clone()), link };
        chain.go_on_from(header, seal);
        Ok((chain, wanted))
    }

    /// Again, when what was read was outrun by what is written.
    async fn tried(
        &self,
        from: &mut Giver,
        folder: &Folder,
        wanted: &Wanted,
        chain: &Chain,
    ) -> Result<(File, Whole), Not> {
        let mut tries = 1;
        loop {
            let sink = || Ok(Sink::new(BufWriter::new(folder.begin()?), chain.clone()));
            match from.take(wanted, sink).await {
                Err(Not::Outrun(fail)) if tries < TRIES => {
                    progress(&format!("{fail}; beginning again"));
                    tries += 1;
                    from.hurry();
                    tokio::time::sleep(PAUSE).await;
                }
                Err(not) => return Err(not),
                Ok((out, whole)) => {
                    let written = |error: io::Error| Fail::Storage(format!("--to: {error}"));
                    let file = out.into_inner().map_err(|error| written(error.into_error()))?;
                    return Ok((file, whole));
                }
            }
        }
    }
}

impl Giver {
    /// Whose state it would be, and of which cluster.
    async fn whose(&self) -> Result<(Member, String), Fail> {
        match self {
            Self::Replica { address, .. } => {
                let status = Inner::at("--of", address)?.status().await?;
                Ok((admin::member(&status.member)?, status.cluster))
            }
            Self::Directory(directory) => Ok((directory.member(), directory.cluster().to_owned())),
        }
    }

    /// Takes one, into a fresh sink.
    async fn take<W: Write>(
        &mut self,
        wanted: &Wanted,
        sink: impl Fn() -> Result<Sink<W>, Fail>,
    ) -> Result<(W, Whole), Not> {
        match self {
            Self::Replica { client, address, rate } => {
                let after = wanted.after.as_ref().map(convert::vector).unwrap_or_default();
                let asked = v1::TakeBackupRequest {
                    after,
                    index: wanted.link.index,
                    previous: wanted.link.previous,
                    bytes_per_second: *rate,
                };
                let away = |status: &Status| refused(address, status);
                let pieces = client.take_backup(Request::new(asked)).await;
                let mut pieces = pieces.map_err(|status| away(&status))?.into_inner();
                let (mut sink, mut sent) = (sink()?, Sent::default());
                while let Some(piece) = pieces.message().await.map_err(|status| away(&status))? {
                    if !piece.needs_full.is_empty() {
                        return Err(Not::NeedsFull(piece.needs_full));
                    }
                    sink.push(&piece.data)?;
                    sent.more(piece.data.len());
                }
                Ok(sink.finish()?)
            }
            Self::Directory(directory) => {
                let mut taking = directory.begin(wanted).map_err(not)?;
                let (mut sink, mut sent) = (sink()?, Sent::default());
                while let Some(piece) = directory.piece(&mut taking).map_err(not)? {
                    sink.push(&piece)?;
                    sent.more(piece.len());
                }
                Ok(sink.finish()?)
            }
        }
    }

    /// No more pauses: the last try was too slow.
    const fn hurry(&mut self) {
        if let Self::Replica { rate, .. } = self {
            *rate = 0;
        }
    }
}

fn refused(address: &str, status: &Status) -> Not {
    let fail = Fail::Away(format!("{address}: {}", admin::said(status)));
    if status.code() == Code::ResourceExhausted { Not::Outrun(fail) } else { Not::Fail(fail) }
}

fn not(error: TakeError) -> Not {
    match error {
        TakeError::LogGone { .. } | TakeError::WentBack => Not::NeedsFull(error.to_string()),
        error => Not::Fail(Fail::Storage(format!("--data: {error}"))),
    }
}

/// Tells how much has come, now and then.
#[derive(Default)]
struct Sent {
    bytes: u64,
    told: u64,
}

impl Sent {
    fn more(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes >= self.told + TELL_BYTES {
            self.told = self.bytes;
            progress(&format!("{} MiB", self.bytes >> 20));
        }
    }
}
