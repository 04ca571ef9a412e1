//! Progress bars, on standard error where somebody sees them.

use std::sync::Arc;

use icecore_archive::{Progress, ProgressFn};
use indicatif::{ProgressBar, ProgressStyle};

use crate::context::Context;

/// A progress bar over bytes, or nothing. It goes from the screen when it is dropped, so that an
/// error is not printed behind it.
pub(crate) struct Bar(Option<ProgressBar>);

impl Bar {
    pub(crate) fn new(context: &Context, label: &str) -> Self {
        let style = ProgressStyle::with_template(
            "{msg} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        );
        let bar = context.bars.then(|| {
            let bar = ProgressBar::new(0).with_message(label.to_owned());
            match style {
                Ok(style) => bar.with_style(style),
                // The default style shows the same without units.
                Err(_) => bar,
            }
        });
        Self(bar)
    }

    /// Shows how much is done.
    pub(crate) fn set(&self, done: u64, total: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// The bar as something that a backup or a restore calls.
    pub(crate) fn progress(&self) -> ProgressFn {
        let bar = self.0.clone();
        Arc::new(move |progress: Progress| {
            if let Some(bar) = &bar {
                bar.set_length(progress.total_bytes);
                bar.set_position(progress.done_bytes);
            }
        })
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
