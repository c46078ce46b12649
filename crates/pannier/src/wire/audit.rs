//! `pannier audit`: where all units of all stocks are, from one replica or from several.
//!
//! Conservation is looked at where it must hold at any moment: in one view of one replica. Replicas
//! that are asked while something is sold show different moments, so that they differ is said, and
//! is no fault; units that are nowhere are one.

use super::refused;
use crate::fail::Fail;
use crate::out::Form;
use crate::run::runtime;
use crate::sums::Sums;
use orset::{Kind, NAMESPACE_MAX, check_name};
use pannier_client::{Client, ClientSettings, Page};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// Names that one page has.
const PAGE: u32 = 1_000;

/// What to ask.
#[derive(Clone, Debug, clap::Args)]
pub struct AuditArgs {
    /// The gateway or replicas to ask (their addresses for clients); of several, each is asked
    #[arg(required = true, value_name = "HOST:PORT")]
    addresses: Vec<String>,
    /// The namespace
    #[arg(long, value_name = "NAME", default_value = "shop")]
    namespace: OsString,
    /// Print each stock, and not only those that do not add up
    #[arg(long)]
    all: bool,
}

/// What one address shows.
#[derive(Debug, Serialize)]
struct Book {
    address: String,
    stocks: usize,
    total: Sums,
    /// Those that do not add up; all, if all were asked for.
    listed: BTreeMap<String, Sums>,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Audit {
    verdict: &'static str,
    books: Vec<Book>,
    /// Whether all that were asked show the same sums.
    are_equal: bool,
}

impl AuditArgs {
    /// Asks, and prints; whether all units are somewhere.
    pub fn run(&self, form: Form) -> Result<bool, Fail> {
        let namespace = self.namespace.as_encoded_bytes();
        check_name("", namespace, NAMESPACE_MAX).map_err(|error| Fail::of("--namespace", error))?;
        let runtime = runtime()?;
        let mut books = Vec::new();
        for address in &self.addresses {
            let address = crate::config::remote_address(address)
                .map_err(|what| Fail::of("HOST:PORT", what))?;
            books.push(runtime.block_on(self.book(&address, namespace))?);
        }
        runtime.shutdown_background();
        let is_right = books.iter().all(|book| book.total.imbalance == 0);
        let are_equal = books.windows(2).all(|two| two[0].total == two[1].total);
        let verdict = if is_right { "PASS" } else { "FAIL" };
        form.print(&Audit { verdict, books, are_equal })?;
        Ok(is_right)
    }

    async fn book(&self, address: &str, namespace: &[u8]) -> Result<Book, Fail> {
        let away = |error: pannier_client::Error| refused(&error, "HOST:PORT");
        let client = Client::connect(ClientSettings::new([address])).await.map_err(away)?;
        let mut book = Book {
            address: address.to_owned(),
            stocks: 0,
            total: Sums::default(),
            listed: BTreeMap::new(),
        };
        let mut page = Some(Page::first(PAGE));
        while let Some(asked) = page {
            let listing = client.list(Kind::Stock, namespace, &asked).await.map_err(away)?;
            // All of a page are under way at once.
            let mut reads = Vec::new();
            for id in &listing.ids {
                let stock = client.stock(namespace, id).map_err(|error| away(error.into()))?;
                reads.push((id, stock.read()));
            }
            for (id, read) in reads {
                let sums = Sums::of(&read.await.map_err(away)?.sheet);
                book.stocks += 1;
                book.total.add(&sums);
                if self.all || sums.imbalance != 0 {
                    book.listed.insert(String::from_utf8_lossy(id).into_owned(), sums);
                }
            }
            page = listing.next;
        }
        Ok(book)
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Book { address, stocks, total, listed } in &self.books {
            writeln!(f, "{address}: {stocks} stocks; {total}")?;
            for (stock, sums) in listed {
                writeln!(f, "  {}: {sums}", stock.escape_debug())?;
            }
        }
        if !self.are_equal {
            writeln!(f, "they show different moments, or have not heard of each other")?;
        }
        writeln!(f, "{}", self.verdict)
    }
}
