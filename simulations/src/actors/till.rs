//! People at the till: whoever looks at a cart may order what it shows, pay or not, and ask again
//! elsewhere. Several do so for one cart at a time; they are no sessions and carry no token, so
//! what one replica has told them another may not know.
//!
//! An order is named by number, as a purchase is; what it is over is what the cart showed where it
//! was first asked for.

use crate::chance::{Dice, Purpose};
use crate::checkers::Verdict;
use crate::history::Trade;
use crate::scenario::{Act, Doing, Till};
use crate::world::World;
use orset::order::{Goods, OrderLine};
use orset::stock::{Ask, Customer, OrderAsk};
use orset::{ObjectKey, OpId};

/// One order, once somebody has looked at its cart.
#[derive(Clone, Debug)]
pub(super) struct AtTill {
    op: OpId,
    cart: ObjectKey,
    goods: Goods,
    paid: bool,
}

impl World<'_> {
    /// What an act at the till means now.
    pub(crate) fn till_act(&mut self, act: Act) -> Verdict {
        let Doing::Order { till, order, cart, at } = act.what else { return Ok(()) };
        let market = &self.scenario.options.market;
        if market.stocks == 0 || (market.has_terms() && self.trader.agreed < market.stocks) {
            return Ok(());
        }
        let at = at % self.nodes.len();
        let Some(it) = self.ordered(order, cart, at) else { return Ok(()) };
        let market = &self.scenario.options.market;
        let mut dice = Dice::keyed(self.scenario.options.seed, Purpose::Market, act.key, 5);
        let (goods, ttl_ms) = (it.goods.clone(), dice.between(market.ttl_ms));
        let ask = match till {
            Till::Checkout => OrderAsk::Checkout { goods, ttl_ms },
            Till::Confirm => OrderAsk::Confirm { goods },
            Till::Cancel => OrderAsk::Cancel,
            Till::Extend => OrderAsk::Extend { ttl_ms },
            Till::Return => OrderAsk::Return { goods },
            Till::Look => OrderAsk::Show,
        };
        let trade = Trade { op: it.op, stock: it.cart, ask: Ask::Order(ask) };
        if till == Till::Confirm && dice.chance(market.twice) {
            let other = (at + 1 + dice.index(self.nodes.len())) % self.nodes.len();
            self.trade(trade.clone(), None, act.key | 1 << 41, other, false);
        }
        self.trade(trade, None, act.key, at, false);
        Ok(())
    }

    /// An order, as its number has it; of what the cart shows there, when it is new.
    fn ordered(&mut self, number: usize, cart: usize, at: usize) -> Option<AtTill> {
        if let Some(it) = self.trader.orders.get(&number) {
            return Some(it.clone());
        }
        let carts = &self.shop.objects[0];
        let cart = carts[cart % carts.len()].clone();
        let up = self.nodes[at].here()?;
        let shown = self.checks.lines(&cart, &self.checks.whole(up.protocol.synced()));
        let is_sold = |line: &orset::cart::Line| {
            let of = line.product.as_bytes();
            self.trader.stocks.iter().any(|stock| stock.id() == of)
        };
        let options = &self.scenario.options;
        let mut dice = Dice::keyed(options.seed, Purpose::Market, number as u64, 6);
        let only_one = dice.chance(300);
        let lines = shown.into_iter().filter(is_sold).map(|line| OrderLine {
            product: line.product,
            quantity: u32::try_from(line.quantity).unwrap_or(u32::MAX),
            entries: line.seen,
        });
        let lines = lines.take(if only_one { 1 } else { usize::MAX }).collect();
        let customer = format!("customer-{}", dice.index(options.market.customers.max(1)));
        let customer = Customer::new(customer.as_bytes()).ok();
        let customer = customer.filter(|_| options.market.limit > 0);
        let goods = Goods::new(lines, customer).ok()?;
        let it = AtTill { op: self.new_op()?, cart, goods, paid: false };
        self.trader.orders.insert(number, it.clone());
        Some(it)
    }

    /// All lines are set aside: now the payment succeeds, fails, or never answers.
    pub(super) fn pays_order(&mut self, op: OpId, key: u64, at: usize) {
        let market = &self.scenario.options.market;
        let mut dice = Dice::keyed(self.scenario.options.seed, Purpose::Market, key, 7);
        let (declined, silent) = (dice.chance(market.declined), dice.chance(market.silent));
        let at = if dice.chance(300) { dice.index(self.nodes.len()) } else { at };
        let pause_us = dice.between((1_000, market.ttl_ms.1 * 1_300));
        let found = self.trader.orders.iter_mut().find(|(_, it)| it.op == op);
        let Some((order, it)) = found.map(|(order, it)| (*order, it)) else { return };
        if std::mem::replace(&mut it.paid, true) || silent {
            return;
        }
        let till = if declined { Till::Cancel } else { Till::Confirm };
        let what = Doing::Order { till, order, cart: 0, at };
        let act = Act { at_us: self.now_us + pause_us, key: key | 1 << 40, what };
        self.queue.put(act.at_us, crate::world::What::Act(act));
    }
}
