//! A member that is gone for good, and what it had sold.
//!
//! A newcomer joins, makes units of a stock of its own and sells some, the last so that perhaps
//! nobody heard of it; then it is killed. An operator closes it, with another member killed in the
//! middle, and accounts for the stock at its heir, as `docs/operations/decommission.md` says. Every
//! unit must be where it belongs then. Sometimes it comes back: it must learn that it is closed,
//! and sell nothing.
//!
//! It is a newcomer that dies, so that those whom clients use are never fewer, and the history has
//! nothing that was acknowledged by one that is gone.

use super::nemesis::Machinist;
use super::operator::{HIT_MS, KNOWN_WITHIN, LOOK, asked, insist, remove};
use super::story::{Trouble, Who};
use crate::admin::Inner;
use crate::fail::Fail;
use crate::processes::Recipe;
use pannier_replica::doors::clock::Clock;
use serde_json::Value;
use std::time::Duration;
use tokio::task::block_in_place;

/// Units that it makes, and the sales that it makes of them, one unit each.
const UNITS: u64 = 9;
const SALES: u64 = 3;
/// How often it comes back.
const RETURNS: f64 = 0.5;

/// How the shop of a newcomer is reached.
struct Shop {
    stock: String,
    session: String,
}

impl Shop {
    async fn says(&self, at: &str, words: &[&str]) -> Result<Value, Fail> {
        let verb = [&["stock"], words, &["--gateway", at, "--session", &self.session]].concat();
        asked(&verb).await
    }
}

impl Machinist<'_> {
    /// See the file's head.
    pub(super) async fn decommission(&mut self, hit: usize, trouble: Trouble) -> Result<(), Fail> {
        if self.machines.builds.old.is_some() && !self.machines.builds.raised {
            self.telling.tell("nobody is closed: one may not read yet what that would write");
            return Ok(());
        }
        let heir = (hit + 1) % self.machines.names().len();
        let (inner, outer, whose) = {
            let heir = self.machines.recipe(heir);
            (heir.inner_listen.to_string(), heir.listen.to_string(), heir.member.to_string())
        };
        let newcomer = self.machines.newcomer()?;
        let gone = newcomer.member.to_string();
        let session = newcomer.directory.with_extension("session").display().to_string();
        let shop = Shop { stock: format!("left-by-{gone}"), session };
        let server = newcomer.start().await?;
        insist(&["admin", "join", &inner, &newcomer.inner_listen.to_string()]).await?;
        let (at, units) = (newcomer.listen.to_string(), UNITS.to_string());
        shop.says(&at, &["restock", &shop.stock, &units]).await?;
        self.knows_of(&shop, &outer).await?;
        let mut sold = Vec::new();
        for _ in 0..SALES {
            let bought = shop.says(&at, &["buy", &shop.stock]).await?;
            let op = bought["op_id"].as_str().unwrap_or_default();
            sold.push(format!("{op}:1"));
        }
        server.kill().await?;
        self.telling.tell(&format!("{gone} is gone for good"));

        let when_ms = self.chance.below(HIT_MS);
        let hitting = async {
            tokio::time::sleep(Duration::from_millis(when_ms)).await;
            self.machines.kill(Who::Replica(hit)).await?;
            tokio::time::sleep(Duration::from_millis(trouble.lasts_ms)).await;
            self.machines.restart(Who::Replica(hit)).await
        };
        let words = ["admin", "decommission", &inner, &gone, "--heir", &whose];
        let (closed, hit) = tokio::join!(insist(&words), hitting);
        closed.and(hit)?;
        self.telling.tell(&format!("{gone} is closed"));
        if self.chance.chance(RETURNS) {
            self.comes_back(&newcomer).await?;
        }
        let mut account = vec!["admin", "account", &inner, &gone, "shop", &shop.stock, "--all"];
        sold.iter().for_each(|sale| account.extend(["--sold", sale]));
        insist(&account).await?;
        let shown = self.shown(&shop, &outer).await?;
        let of = |what: &str| shown[what].as_u64().unwrap_or_default();
        let right = (UNITS, UNITS - SALES, SALES, 0);
        let is = (of("minted"), of("available"), of("sold"), of("frozen"));
        if is != right {
            let what = format!("{gone} left {right:?} units (minted, free, sold, frozen): {shown}");
            self.telling.complain(&what);
        }
        block_in_place(|| remove(&newcomer.directory))
    }

    /// Waits until the heir knows of the units.
    async fn knows_of(&self, shop: &Shop, at: &str) -> Result<(), Fail> {
        let clock = Clock::start();
        loop {
            let shown = shop.says(at, &["show", &shop.stock]).await;
            if shown.is_ok_and(|shown| shown["minted"] == UNITS) {
                return Ok(());
            }
            if clock.now().mono_us > KNOWN_WITHIN.as_micros() as u64 {
                return Err(Fail::Away(format!(
                    "{} is not known within {KNOWN_WITHIN:?}",
                    shop.stock
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the heir shows of it, when it can be asked.
    async fn shown(&self, shop: &Shop, at: &str) -> Result<Value, Fail> {
        let clock = Clock::start();
        loop {
            match shop.says(at, &["show", &shop.stock]).await {
                Ok(shown) => return Ok(shown),
                Err(fail) if clock.now().mono_us > KNOWN_WITHIN.as_micros() as u64 => {
                    return Err(fail);
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// It starts again, must say that it does not belong any more, and is stopped.
    async fn comes_back(&self, recipe: &Recipe) -> Result<(), Fail> {
        let server = recipe.start().await?;
        let inner = Inner::at("INNER", &recipe.inner_listen.to_string())?;
        let clock = Clock::start();
        loop {
            if inner.status().await.is_ok_and(|status| status.place == "left") {
                self.telling.tell(&format!("{} has come back and was told", recipe.member));
                break;
            }
            if clock.now().mono_us > KNOWN_WITHIN.as_micros() as u64 {
                let what = format!("{} came back, and nobody tells it", recipe.member);
                self.telling.complain(&what);
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        server.kill().await
    }
}
