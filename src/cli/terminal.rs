//! Shows the events of a session on the screen and in the log.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    screen::Screen,
    watch::{self, follow},
    words::{bytes, counted, fact, grouped},
};
use crate::{
    app::{CallbacksAt, Event, EventSink, Events, Watched},
    runner::{
        self,
        intake::{ListenProgress, ReadProgress},
    },
};

/// The screen as a session's event sink.
#[derive(Debug)]
pub(super) struct Terminal {
    screen: Screen,
    /// The bar for recordings being read; `None` if no bar can be drawn.
    reading: OnceLock<Option<ProgressBar>>,
    /// The same for recordings being listened to.
    listening: OnceLock<Option<ProgressBar>>,
}

impl Terminal {
    pub(super) fn events(screen: &Screen) -> Events {
        Arc::new(Self { screen: screen.clone(), reading: OnceLock::new(), listening: OnceLock::new() })
    }

    /// Prints the amount to read before the first file, and draws a bar if bars can be drawn.
    fn reading(&self, progress: ReadProgress) {
        let ReadProgress { files, bytes: all, read } = progress;
        let bar = self.reading.get_or_init(|| {
            let found = counted(files, "recording");
            self.screen.message(&fact(
                "reading",
                format!("{found} ({}) found in another way than before, to compare", bytes(all)),
            ));
            self.bar(all)
        });
        let Some(bar) = bar else { return };
        bar.set_position(read);
        bar.set_message(format!("{} of {} read", bytes(read), bytes(all)));
        if read >= all {
            bar.finish_and_clear();
        }
    }

    /// The same for recordings that are listened to.
    fn listening(&self, progress: ListenProgress) {
        let ListenProgress { all, recordings, done } = progress;
        let bar = self.listening.get_or_init(|| {
            let some = if recordings < all { format!("{} of ", grouped(recordings)) } else { String::new() };
            let all = counted(all, "recording");
            self.screen.message(&fact("listening", format!("to {some}{all}, on this machine; nothing is sent")));
            self.bar(recordings)
        });
        let Some(bar) = bar else { return };
        bar.set_position(done);
        bar.set_message(format!("{} of {} heard", grouped(done), grouped(recordings)));
        if done >= recordings {
            bar.finish_and_clear();
        }
    }

    /// A bar of this length, if bars can be drawn.
    fn bar(&self, all: u64) -> Option<ProgressBar> {
        self.screen.draws().then(|| {
            let style = ProgressStyle::with_template("{bar:32} {msg}")
                .expect("a constant template that is right")
                .progress_chars("█▉▊▋▌▍▎▏ ");
            self.screen.bars().add(ProgressBar::new(all).with_style(style))
        })
    }
}

impl EventSink for Terminal {
    fn event(&self, event: Event) {
        let screen = &self.screen;
        match event {
            Event::Warning(words) => screen.warn(&words),
            Event::Reading(progress) => self.reading(progress),
            Event::Listening(progress) => self.listening(progress),
            Event::Resumed { batch, kind, reason } => {
                screen.message(&format!("{batch} was {} and goes on", kind.in_words(&reason)));
            }
            Event::NoUnfinishedLines => screen.message("nothing was left to do"),
            Event::Callbacks(at) => screen.message(&fact("callbacks", callbacks(&at))),
            Event::Draining => screen.message(
                "finishing what is in flight; Ctrl-C again leaves at once, and the next run asks what became of it",
            ),
            Event::Leaving => screen.message("leaving"),
            Event::Stopping => screen.message("stopping: what is in flight has 5 s"),
            Event::Runner { event, batch } => watch::log(&event, batch.as_deref().unwrap_or_default(), screen),
        }
    }

    fn follow(
        self: Arc<Self>,
        watched: Watched,
        heard: UnboundedReceiver<runner::Event>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { follow(&self.screen, watched, heard).await })
    }
}

fn callbacks(at: &CallbacksAt) -> String {
    match at {
        CallbacksAt::Here { addr, public_url } => format!("received on {addr} for {public_url}"),
        CallbacksAt::Elsewhere(public_url) => format!("received by another process for {public_url}"),
        CallbacksAt::TakenOver(addr) => format!("from now on received on {addr}"),
    }
}
