//! `pannier gateway`: one gateway, until it is told to stop.

use super::{Level, LogFlag, Ready, Stop, address, listen, runtime};
use crate::config::{self, GatewayFlags};
use crate::fail::Fail;
use crate::out::Form;
use pannier_gateway::{Gateway, GatewayError};

/// Flags of `gateway`.
#[derive(Clone, Debug, clap::Args)]
pub struct GatewayArgs {
    #[command(flatten)]
    flags: GatewayFlags,
    #[command(flatten)]
    log: LogFlag,
    /// End also when standard input does: for whoever starts it as a child
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

impl GatewayArgs {
    /// Runs it.
    pub fn run(&self, form: Form) -> Result<(), Fail> {
        let (config, checked) = self.flags.load()?;
        if self.flags.check {
            return form.print(&checked);
        }
        self.log.begin(Level::Info)?;
        let runtime = runtime()?;
        let served = runtime.block_on(serve(form, config, self.until_stdin_ends));
        // Nothing is worth waiting for any more: requests were drained.
        runtime.shutdown_background();
        served
    }
}

async fn serve(form: Form, config: config::Gateway, until_stdin_ends: bool) -> Result<(), Fail> {
    let mut stop = Stop::on_signals(until_stdin_ends)?;
    let listener = listen("listen", config.listen).await?;
    let inner = listen("inner_listen", config.inner_listen).await?;
    let settings = config.settings;
    form.event(&Ready {
        ready: "gateway".into(),
        cluster: settings.cluster.clone(),
        member: None,
        zone: settings.zone.clone(),
        listen: address(&listener)?,
        inner_listen: address(&inner)?,
    })?;
    let wanted = async move { stop.wanted().await };
    Gateway::builder(settings).inner(inner).serve(listener, wanted).await.map_err(failed)
}

/// Why a gateway ended.
pub(super) fn failed(error: GatewayError) -> Fail {
    match error {
        GatewayError::Settings(_) | GatewayError::Remote(_) => Fail::Usage(error.to_string()),
        error => Fail::Away(format!("gateway: {error}")),
    }
}
