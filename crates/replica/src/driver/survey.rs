//! Whoever reads everything that is stored (`protocol/verify/survey.rs`), a page at a time.
//!
//! It has a thread of its own: the log thread has acknowledgements to give, the checkpoint thread
//! a backlog to keep small, and this may take minutes. Between two pages it rests, so that disk and
//! processor stay the clients'. A view is over when too much is written behind it (S11); then
//! another one is taken, and read with half the rest.

use super::Observer;
use super::mailbox::{Mailbox, Notice};
use crate::protocol::verify::{Survey, Surveying};
use crate::store::{Store, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// Between two pages of at most 512 rows.
const REST: Duration = Duration::from_millis(10);

/// Views tried; the last ones without any rest.
const VIEWS: u32 = 8;

/// See the file's head.
pub(super) struct Surveyor {
    pub store: Arc<dyn Store>,
    pub mailbox: Arc<Mailbox>,
    pub observer: Arc<dyn Observer>,
}

/// One survey under way.
pub(super) struct Walk {
    number: u64,
    surveying: Surveying,
    view: Option<Box<dyn crate::store::StateView>>,
    views: u32,
    /// The rows are read; the log is next.
    in_log: bool,
}

impl Walk {
    pub fn new(number: u64) -> Self {
        Self { number, surveying: Surveying::default(), view: None, views: 0, in_log: false }
    }
}

impl Surveyor {
    /// A page; how long to rest before the next one, or nothing when it is over.
    pub fn page(&self, walk: &mut Walk) -> Option<Duration> {
        match self.read(walk) {
            Ok(true) => {
                let (rows, records) = walk.surveying.progress();
                self.observer.surveying(rows, records);
                Some(REST / 2_u32.saturating_pow(walk.views.saturating_sub(1)))
            }
            Ok(false) => {
                let survey = std::mem::take(&mut walk.surveying).done();
                self.say(walk, Ok(survey));
                None
            }
            Err(StoreError::ViewTooOld { .. }) if walk.views < VIEWS => {
                (walk.surveying, walk.view) = (Surveying::default(), None);
                Some(Duration::ZERO)
            }
            Err(error @ (StoreError::ViewTooOld { .. } | StoreError::Refused(_))) => {
                self.say(walk, Err(format!("not everything could be read: {error}")));
                None
            }
            Err(error) => {
                self.mailbox.notice(Notice::Failed(error));
                None
            }
        }
    }

    fn say(&self, walk: &Walk, survey: Result<Survey, String>) {
        self.mailbox.notice(Notice::Surveyed(walk.number, survey.map(Arc::new)));
    }

    fn read(&self, walk: &mut Walk) -> Result<bool, StoreError> {
        if walk.in_log {
            return walk.surveying.log(&*self.store);
        }
        let view = match &walk.view {
            Some(view) => view,
            None => {
                walk.views += 1;
                walk.view.insert(self.store.view()?)
            }
        };
        if !walk.surveying.rows(&**view)? {
            (walk.in_log, walk.view) = (true, None);
        }
        Ok(true)
    }
}
