//! Where it happens: a replica in each region, links that can be cut, and a client for each.

use super::SaleArgs;
use super::buyer::Buyers;
use crate::bench::process;
use crate::fail::Fail;
use crate::processes::{Link, Plan, Server, Site, Weather};
use crate::run::Stop;
use crate::wire::http;
use orset::stock::{Outcome, Sheet, Terms};
use orset::{Member, OpId};
use pannier_client::{Client, ClientSettings, Stock};
use pannier_proto::Token;
use pannier_replica::doors::chance;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The namespace.
const SHOP: &str = "shop";

/// How long one call may take, retries of the library included.
const WITHIN: Duration = Duration::from_secs(5);

/// How long replicas may take to become equal in the end.
const EQUAL_WITHIN: Duration = Duration::from_secs(60);

/// Which region is cut off, and from when to when.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// By its number from 0.
    pub region: usize,
    from: Duration,
    to: Duration,
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (region, times) = text.split_once('@')?;
            let (from, to) = times.split_once("..")?;
            let seconds = |text: &str| {
                let seconds = text.parse().ok().filter(|it: &f64| (0.0..=86_400.0).contains(it));
                seconds.map(Duration::from_secs_f64)
            };
            let region = region.parse::<usize>().ok()?.checked_sub(1)?;
            let (from, to) = (seconds(from)?, seconds(to)?);
            (from < to).then_some(Self { region, from, to })
        };
        parts().ok_or_else(|| "it is REGION@FROM..TO, as 2@1..4.5".into())
    }
}

/// Everything that runs.
pub struct Market {
    servers: Vec<Server>,
    inner: Vec<String>,
    links: Vec<(usize, usize, Link)>,
    clients: Vec<Client>,
    /// What is sold.
    name: String,
    /// Each region sells its own stock.
    apart: bool,
}

/// What replicas have used.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Spent {
    /// CPU seconds, of all replicas.
    pub cpu_seconds: f64,
    /// The most memory that any had.
    pub resident_bytes_max: u64,
}

fn away(error: impl std::fmt::Display) -> Fail {
    Fail::Away(format!("flash-sale: {error}"))
}

async fn client(address: &str, args: &SaleArgs) -> Result<Client, Fail> {
    let mut settings = ClientSettings::new([address]);
    settings.core.streams = 4;
    settings.calls_max = settings.calls_max.max(4 * args.in_flight as usize);
    Client::connect(settings).await.map_err(away)
}

impl Market {
    /// Starts the replicas, or goes to those that are there; shares the units out, and waits until
    /// all know of them.
    pub async fn open(args: &SaleArgs, root: &Path) -> Result<Self, Fail> {
        if args.at.is_empty() { Self::start(args, root).await } else { Self::join(args).await }
    }

    async fn join(args: &SaleArgs) -> Result<Self, Fail> {
        // No other sale has it, nor any that was here before.
        let name = format!("flash-sale-{}", chance::member()?);
        let (servers, inner, links) = Default::default();
        let (mut clients, mut members) = (Vec::new(), Vec::new());
        for address in &args.at {
            let client = client(address, args).await?;
            let session = client.session().map_err(away)?;
            let stock = session.stock(SHOP, &name).map_err(away)?.within(WITHIN);
            stock.read().await.map_err(away)?;
            let home = Token::decode(&session.token()).ok().and_then(|it| it.home);
            members.push(home.ok_or_else(|| away(format!("{address} does not say who it is")))?);
            clients.push(client);
        }
        let market = Self { servers, inner, links, clients, name, apart: args.apart };
        market.restock(args, &members).await?;
        Ok(market)
    }

    async fn start(args: &SaleArgs, root: &Path) -> Result<Self, Fail> {
        let mut sites = Vec::new();
        for n in 1..=args.regions {
            let directory = root.join(format!("region-{n}"));
            sites.push(Site { member: chance::member()?, zone: "", directory });
        }
        let members: Vec<Member> = sites.iter().map(|site| site.member).collect();
        let Plan { recipes, links } = Plan::draw("flash-sale", sites, "warn").await?;
        let (mut servers, mut inner, mut clients) = (Vec::new(), Vec::new(), Vec::new());
        for mut recipe in recipes {
            recipe.engine = Some(if args.engine == "sled" { "sled" } else { "fjall" });
            recipe.set.push("protocol.hold_max_ms=600000".into());
            inner.push(recipe.inner_listen.to_string());
            let address = recipe.listen.to_string();
            servers.push(recipe.start().await?);
            clients.push(client(&address, args).await?);
        }
        let name = "phone".into();
        let market = Self { servers, inner, links, clients, name, apart: args.apart };
        market.restock(args, &members).await?;
        Ok(market)
    }

    async fn restock(&self, args: &SaleArgs, members: &[Member]) -> Result<(), Fail> {
        let mut ids = chance::op_ids()?;
        let mut next = || chance::next_op_id(&mut ids).ok().flatten().ok_or(Fail::Interrupted);
        let count = members.len() as u64;
        for (at, member) in members.iter().enumerate() {
            let units = args.units / count + u64::from((at as u64) < args.units % count);
            if units == 0 {
                continue;
            }
            let answer =
                self.stock(at, at, next()?)?.restock(units, *member).await.map_err(away)?;
            if answer.outcome != Outcome::Done {
                return Err(away(format!("restocking came to {:?}", answer.outcome)));
            }
        }
        if args.limit > 0 {
            let terms = Terms { limit: args.limit, tentative: args.tentative, peers: 0 };
            for home in 0..self.stocks() {
                self.stock(0, home, next()?)?.set_terms(terms).await.map_err(away)?;
            }
        }
        let knows = |sheet: &Sheet| sheet.minted == args.units && sheet.terms.limit == args.limit;
        self.until("all to know of the units", |sheets| sheets.iter().all(knows)).await?;
        Ok(())
    }

    /// The stock that is sold in the region `home`, for one purchase, as `region` has it.
    pub fn stock(&self, region: usize, home: usize, op: OpId) -> Result<Stock, Fail> {
        Ok(self.of(region, home)?.with_op_id(op))
    }

    fn of(&self, region: usize, home: usize) -> Result<Stock, Fail> {
        let name = format!("{}-{}", self.name, if self.apart { home + 1 } else { 1 });
        Ok(self.clients[region].stock(SHOP, name).map_err(away)?.within(WITHIN))
    }

    fn stocks(&self) -> usize {
        if self.apart { self.regions() } else { 1 }
    }

    /// Regions.
    pub fn regions(&self) -> usize {
        self.clients.len()
    }

    /// What each region shows, of all stocks together.
    async fn shown(&self) -> Result<Vec<Sheet>, Fail> {
        let mut sheets = Vec::new();
        for region in 0..self.regions() {
            let mut all = Sheet::default();
            for home in 0..self.stocks() {
                let one = self.of(region, home)?.read().await.map_err(away)?.sheet;
                all.terms = one.terms;
                all.accounts.extend(one.accounts);
                all.minted += one.minted;
                all.available += one.available;
                all.held += one.held;
                all.sold += one.sold;
                all.written_off += one.written_off;
                all.frozen += one.frozen;
            }
            sheets.push(all);
        }
        Ok(sheets)
    }

    /// What replicas have used since they were started.
    pub fn spent(&self) -> Result<Spent, Fail> {
        let mut spent = Spent::default();
        for server in &self.servers {
            let process = server.pid();
            spent.cpu_seconds += process::cpu_seconds_of(process).map_err(away)?;
            let (_, most) = process::resident_bytes_of(process);
            spent.resident_bytes_max = spent.resident_bytes_max.max(most);
        }
        Ok(spent)
    }

    async fn until(
        &self,
        what: &str,
        is_so: impl Fn(&[Sheet]) -> bool,
    ) -> Result<Vec<Sheet>, Fail> {
        let look = async {
            loop {
                let sheets = self.shown().await?;
                if is_so(&sheets) {
                    return Ok(sheets);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(EQUAL_WITHIN, look).await {
            Ok(sheets) => sheets,
            Err(_) => Err(away(format!("waited {EQUAL_WITHIN:?} for {what}"))),
        }
    }

    /// What each shows, once they are equal; or after long enough.
    pub async fn sheets(&self, stop: &Stop) -> Result<Vec<Sheet>, Fail> {
        let are_equal = |sheets: &[Sheet]| sheets.windows(2).all(|two| two[0] == two[1]);
        let mut stop = stop.clone();
        let equal = stop.or(self.until("all to be equal", are_equal)).await;
        match equal.ok_or(Fail::Interrupted)? {
            Ok(sheets) => Ok(sheets),
            Err(_) => self.shown().await,
        }
    }

    /// Purchases that waited for rights, in all.
    pub async fn rights_waits(&self) -> u64 {
        let mut waits = 0;
        for address in &self.inner {
            let metrics = http::get(address, "/metrics").await.unwrap_or_default();
            let name = "pannier_rights_waits_total ";
            let value = metrics.lines().find_map(|line| line.strip_prefix(name));
            waits += value.and_then(|it| it.trim().parse::<u64>().ok()).unwrap_or(0);
        }
        waits
    }

    /// Cuts a region off in its time.
    pub async fn keep(self: Arc<Self>, cut: Cut) {
        tokio::time::sleep(cut.from).await;
        self.weather(cut.region, true);
        tokio::time::sleep(cut.to.saturating_sub(cut.from)).await;
        self.weather(cut.region, false);
    }

    fn weather(&self, region: usize, is_refused: bool) {
        let weather = Weather { is_refused, ..Weather::default() };
        for (from, to, link) in &self.links {
            if *from == region || *to == region {
                link.set(weather);
            }
        }
    }

    /// Ends the processes in good order.
    pub async fn close(self) -> Result<(), Fail> {
        drop(self.clients);
        for server in self.servers {
            server.close().await?;
        }
        Ok(())
    }
}

/// After the rush: one buyer after the other, in each region, until everybody refuses and nothing
/// is held any more.
pub async fn sell_the_rest(buyers: &Arc<Buyers>, args: &SaleArgs) -> Result<(), Fail> {
    let regions = usize::from(args.regions);
    let patience = Duration::from_millis(args.hold_ms) + EQUAL_WITHIN;
    let sell = async {
        let (mut refused, mut region) = (0, 0);
        while refused < regions {
            match buyers.late(region).await? {
                Some(Outcome::SoldOut { held: 0, .. }) => refused += 1,
                Some(Outcome::SoldOut { .. }) => {
                    refused = 0;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                _ => refused = 0,
            }
            region = (region + 1) % regions;
        }
        Ok(())
    };
    match tokio::time::timeout(patience, sell).await {
        Ok(done) => done,
        // The report says what is left.
        Err(_) => Ok(()),
    }
}
