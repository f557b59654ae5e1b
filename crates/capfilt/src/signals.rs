//! Ctrl-C and SIGTERM while a run is under way.
//!
//! The first signal asks to stop: models end their batch, workers put down
//! what is not finished, and the run comes back by itself. Files are written
//! under a temporary name and published by renaming, so leaving early never
//! leaves half a file under a final name. The second signal ends the process.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::session::Session;

/// How long a run may take to come back after the first signal. Users are promised two seconds.
const GRACE: Duration = Duration::from_millis(1_700);

/// Does `work`, and asks it to stop at the first signal.
///
/// Gives what the work gave, `Failure::Interrupted` when it did not come back
/// in time, or an error when signals cannot be listened to.
pub(crate) async fn stoppable<T>(
    work: impl Future<Output = T>,
    session: &Session,
) -> Result<T, Failure> {
    let asked = "stopping; finished pieces are kept (Ctrl-C again stops at once)";
    stoppable_within(GRACE, asked, work, session).await
}

/// The same with another time to come back in, and other words when a signal came.
pub(crate) async fn stoppable_within<T>(
    grace: Duration,
    asked: &str,
    work: impl Future<Output = T>,
    session: &Session,
) -> Result<T, Failure> {
    let mut signals = Signals::listen().map_err(Failure::Signals)?;
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return Ok(done),
        () = signals.next() => {}
    }
    session.say(format_args!("{asked}"));
    session.stop().stop();
    tokio::select! {
        done = &mut work => Ok(done),
        () = tokio::time::sleep(grace) => Err(Failure::Interrupted),
        () = signals.next() => exit_now(),
    }
}

/// The signals that ask a program to stop, as they come in.
pub(crate) struct Signals {
    received: mpsc::UnboundedReceiver<()>,
}

impl Signals {
    /// Takes over from the default, which would end the process.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
        let (send, received) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                // Ends when nobody listens any more.
                for _signal in signals.forever() {
                    if send.send(()).is_err() {
                        exit_now();
                    }
                }
            })?;
        Ok(Self { received })
    }

    /// The default stays: Ctrl-C ends the process, and the next run resumes.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> io::Result<Self> {
        let (_nobody_sends, received) = mpsc::unbounded_channel();
        Ok(Self { received })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        if self.received.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Ends the process without waiting for model threads: they may sit inside the runtime library,
/// whose own clean-up at exit could wait for them, so it gets a moment only.
pub(crate) fn exit_now() -> ! {
    let watchdog = std::thread::Builder::new().spawn(|| {
        std::thread::sleep(Duration::from_millis(200));
        std::process::abort();
    });
    match watchdog {
        Ok(_running) => std::process::exit(ExitCode::Failed as i32),
        Err(_no_thread) => std::process::abort(),
    }
}
