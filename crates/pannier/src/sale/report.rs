//! What came of a sale, and whether it was right.

use super::SaleArgs;
use super::buyer::{Path, Told};
use super::market::Spent;
use crate::sums::Sums;
use hdrhistogram::Histogram;
use orset::stock::Sheet;
use serde::Serialize;
use std::fmt;

/// Times of one kind of answer, in microseconds.
#[derive(Debug, Serialize)]
struct Times {
    answers: u64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
}

impl Times {
    fn of(took: Option<&Histogram<u64>>) -> Self {
        let at = |quantile| took.map_or(0, |it| it.value_at_quantile(quantile));
        Self {
            answers: took.map_or(0, Histogram::len),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
        }
    }
}

/// See the file's head.
#[derive(Debug, Serialize)]
pub struct Report {
    verdict: &'static str,
    /// What was not right, in words; nothing, if all was.
    wrong: Vec<String>,
    units: u64,
    buyers: u64,
    regions: u8,
    rush_seconds: f64,
    first_answers_per_second: f64,
    /// Told so, and paid.
    sold: u64,
    refused: u64,
    over_limit: u64,
    unpaid: u64,
    lapsed: u64,
    unknown: u64,
    calls_unavailable: u64,
    acknowledgements_lost: u64,
    /// Purchases that waited for rights, and of those that came.
    waited_for_rights: u64,
    waited_percent: f64,
    /// Of the units served while a tenth of the stock was left, those that waited for rights.
    waited_early_percent: f64,
    /// What replicas used, in all and for each buyer.
    spent: Spent,
    cpu_us_per_buyer: f64,
    /// Units served after somebody was told "sold out": what came back, if all is right.
    served_after_a_refusal: u64,
    /// From the first call to a certain answer, by how it came about.
    local: Times,
    borrowed: Times,
    forwarded: Times,
    retried: Times,
    partitioned: Times,
    refusals: Times,
    /// What the replicas show in the end.
    audit: Audit,
}

#[derive(Debug, Serialize)]
struct Audit {
    are_equal: bool,
    #[serde(flatten)]
    sums: Sums,
}

impl Report {
    /// From what buyers were told, and replicas show.
    pub fn new(
        args: &SaleArgs,
        told: &Told,
        sheets: &[Sheet],
        (waited_for_rights, spent): (u64, Spent),
        rush_seconds: f64,
    ) -> Self {
        let sheet = sheets.first().cloned().unwrap_or_default();
        let are_equal = sheets.windows(2).all(|two| two[0] == two[1]);
        let (came, sold) = (told.came, told.sold);
        let most = args.limit;
        let served_twice = told.customers.values().filter(|units| **units > most).count();
        let mut wrong = Vec::new();
        let mut must = |is_right: bool, what: String| {
            if !is_right {
                wrong.push(what);
            }
        };
        must(are_equal, "the replicas are not equal".into());
        must(sheet.imbalance() == 0, format!("{} units are nowhere", sheet.imbalance()));
        must(sheet.minted == args.units, format!("{} units were minted", sheet.minted));
        must(sold <= args.units, format!("OVERSOLD: {sold} units of {}", args.units));
        let left = sheet.available + sheet.held;
        // With a limit customers may be fewer than units.
        let may_be_left = args.limit > 0 && told.refused == 0;
        must(left == 0 || may_be_left, format!("UNDERSOLD: {left} units are left"));
        must(
            sheet.sold == sold || told.unknown > 0,
            format!("{} units are sold, and {sold} were delivered", sheet.sold),
        );
        must(served_twice == 0, format!("{served_twice} customers were served more than {most}"));
        must(told.wrongly == 0, format!("{} were refused while units were free", told.wrongly));
        must(told.unknown == 0, format!("{} were told nothing certain", told.unknown));
        let took = |path| Times::of(told.took.get(&path));
        Self {
            verdict: if wrong.is_empty() { "PASS" } else { "FAIL" },
            wrong,
            units: args.units,
            buyers: args.buyers,
            regions: args.regions,
            rush_seconds,
            first_answers_per_second: came as f64 / rush_seconds.max(1e-9),
            sold,
            refused: told.refused,
            over_limit: told.over_limit,
            unpaid: told.unpaid,
            lapsed: told.lapsed,
            unknown: told.unknown,
            calls_unavailable: told.unavailable,
            acknowledgements_lost: told.lost,
            waited_for_rights,
            waited_percent: 100.0 * waited_for_rights as f64 / came.max(1) as f64,
            waited_early_percent: 100.0 * told.early_waited as f64 / told.early.max(1) as f64,
            spent,
            cpu_us_per_buyer: 1e6 * spent.cpu_seconds / came.max(1) as f64,
            served_after_a_refusal: told.late_grants,
            local: took(Path::Local),
            borrowed: took(Path::Borrowed),
            forwarded: took(Path::Forwarded),
            retried: took(Path::Retried),
            partitioned: took(Path::Partitioned),
            refusals: took(Path::Refused),
            audit: Audit { are_equal, sums: Sums::of(&sheet) },
        }
    }

    /// Whether all was right.
    pub fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { units, buyers, regions, rush_seconds, .. } = self;
        writeln!(f, "{units} units, {buyers} buyers, {regions} regions, {rush_seconds:.1} s")?;
        let Self { sold, refused, over_limit, unpaid, lapsed, .. } = self;
        writeln!(f, "  served       {sold}")?;
        writeln!(f, "  sold out     {refused}")?;
        if *over_limit > 0 {
            writeln!(f, "  over limit   {over_limit}")?;
        }
        writeln!(f, "  did not pay  {unpaid}; paid too late {lapsed}")?;
        let Self { calls_unavailable, acknowledgements_lost, waited_percent, .. } = self;
        writeln!(f, "  calls        {calls_unavailable} unavailable and made again; of the")?;
        writeln!(f, "               answered, {acknowledgements_lost} lost on purpose")?;
        writeln!(f, "  rights       {waited_percent:.2} % of the buyers waited for some; while a")?;
        let early = self.waited_early_percent;
        writeln!(f, "               tenth was left, {early:.2} % of those who were served")?;
        writeln!(f, "  late         {} served after a refusal", self.served_after_a_refusal)?;
        let rate = self.first_answers_per_second;
        writeln!(f, "  buyers/s     {rate:.0}")?;
        let (cpu_us, most) = (self.cpu_us_per_buyer, self.spent.resident_bytes_max >> 20);
        writeln!(f, "  replicas     {cpu_us:.1} us of CPU a buyer, {most} MiB at most")?;
        for (what, times) in [
            ("local", &self.local),
            ("borrowed", &self.borrowed),
            ("forwarded", &self.forwarded),
            ("retried", &self.retried),
            ("partitioned", &self.partitioned),
            ("refused", &self.refusals),
        ] {
            if times.answers == 0 {
                continue;
            }
            let Times { answers, p50_us, p99_us, p999_us } = times;
            let ms = |us: &u64| *us as f64 / 1e3;
            writeln!(
                f,
                "  {what:<12} {answers:>8}; p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
                ms(p50_us),
                ms(p99_us),
                ms(p999_us)
            )?;
        }
        writeln!(f, "  audit        {}", self.audit.sums)?;
        for what in &self.wrong {
            writeln!(f, "  WRONG        {what}")?;
        }
        writeln!(f, "\n{}", self.verdict)
    }
}
