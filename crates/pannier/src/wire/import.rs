//! `stock import` through a gateway: the calls of a file, a thousand in a request.
//!
//! Each batch is answered before the next is sent, so whoever is cut off has at most one that is in
//! doubt; under the same op ids all of it may be sent again.

use super::objects::{Wire, begun};
use super::refused;
use crate::call::{Import, ImportArgs, Imported, Named, Place};
use crate::fail::Fail;
use crate::out::Form;
use orset::Kind;
use pannier_client::{Error, StockCall, StockResult};
use pannier_proto::limits::BULK_MAX;

/// Does the calls of a file, through the gateway (or at the replica) at `address`.
pub fn import(form: Form, place: &Place, address: &str, args: &ImportArgs) -> Result<bool, Fail> {
    let calls = args.read()?;
    begun((form, place, address, Kind::Stock), async |wire| wire.import(calls).await)
}

impl Wire<'_> {
    async fn import(&mut self, calls: Import) -> Result<bool, Fail> {
        let flag = self.flag;
        let told = |error: &Error| refused(error, flag);
        self.session.set_peers(calls.peers);
        let mut at = None;
        if calls.wants_member() {
            let stock = calls.first_stock();
            at = Some(
                match self.who_answers(stock).await {
                    Err(error) if self.begins_anew(&error)? => self.who_answers(stock).await,
                    other => other,
                }
                .map_err(|error| told(&error))?,
            );
            self.session.set_peers(calls.peers);
        }
        let calls = calls.named(at, || self.session.op_id().map_err(|error| told(&error)))?;
        let (mut answered, mut failed) = (0, 0);
        for some in calls.chunks(BULK_MAX) {
            let came = self.send(some).await.map_err(|error| {
                let (fail, all) = (told(&error), calls.len());
                match fail {
                    Fail::Away(why) => Fail::Away(format!(
                        "{why}; of {all} calls {answered} are answered, the others may be sent \
                         again under the same op ids"
                    )),
                    fail => fail,
                }
            })?;
            for (call, came) in some.iter().zip(came) {
                let came = came.as_ref().map(|it| &it.outcome);
                let came = came.map_err(|error| told(error).to_string());
                if let Some(why) = call.failed(came) {
                    failed += 1;
                    self.form.event(&why)?;
                }
            }
            answered += some.len();
            // Whoever is cut off later goes on from here.
            self.after()?;
        }
        self.form.event(&Imported::new(calls.len(), failed, self.after()?))?;
        Ok(failed == 0)
    }

    async fn send(&mut self, calls: &[Named]) -> Result<Vec<StockResult>, Error> {
        let wire = |call: &Named| StockCall::new(call.op, self.namespace, &call.stock, &call.ask);
        let calls = calls.iter().map(wire).collect::<Result<Vec<_>, _>>()?;
        self.session.bulk(&calls).await
    }
}
