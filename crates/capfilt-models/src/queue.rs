//! The short queue in front of a model's thread, and how batches are made from it.
//!
//! One thread owns the model. Questions of all callers wait in one bounded queue; the thread takes
//! what is there, waits a moment when more callers are likely, and answers a batch at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;

use crate::error::ModelError;

/// What answers questions, on a thread of its own.
pub(crate) trait Engine: Send + 'static {
    /// What is asked.
    type Question: Send + 'static;
    /// What is answered.
    type Reply: Send + 'static;

    /// Answers a batch, in order.
    fn answer(&mut self, batch: Vec<Self::Question>) -> Result<Vec<Self::Reply>, ModelError>;
}

/// Questions that are answered at once unless something else is asked for.
///
/// Measured on two cores at BLIP-base's size: the image encoder gains nothing from batches; a caption of
/// 20 tokens costs 0.50, 0.20 and 0.15 s of processor time in batches of 1, 4 and 8.
pub(crate) fn usual_batch(device: &str) -> usize {
    if device == "cpu" { 8 } else { 32 }
}

struct Letter<E: Engine> {
    question: E::Question,
    reply: oneshot::Sender<Result<E::Reply, ModelError>>,
}

/// A handle to an engine's thread. The thread ends with the last handle.
pub(crate) struct Queue<E: Engine> {
    sender: mpsc::Sender<Letter<E>>,
    asking: Arc<AtomicUsize>,
    ended: Arc<OnceLock<String>>,
}

impl<E: Engine> Clone for Queue<E> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            asking: Arc::clone(&self.asking),
            ended: Arc::clone(&self.ended),
        }
    }
}

/// Counts a caller from question to answer, also when it gives up.
struct Asking<'a>(&'a AtomicUsize);

impl<'a> Asking<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<E: Engine> Queue<E> {
    /// Starts the thread `name`, which answers up to `batch` questions at a time; as many more wait
    /// in the queue, further callers before it.
    pub(crate) fn start(name: &str, batch: usize, engine: E) -> Result<Self, ModelError> {
        let batch = batch.max(1);
        let failed = |error: std::io::Error| ModelError::Ended {
            reason: error.to_string(),
        };
        let clock = Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(failed)?;
        let (sender, receiver) = mpsc::channel(batch);
        let asking = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(OnceLock::new());
        let worker = Worker {
            receiver,
            batch,
            asking: Arc::clone(&asking),
            ended: Arc::clone(&ended),
            before: 0,
            patience: Duration::from_millis(1),
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || worker.work(&clock, engine))
            .map_err(failed)?;
        Ok(Self {
            sender,
            asking,
            ended,
        })
    }

    /// Asks one question.
    pub(crate) async fn ask(&self, question: E::Question) -> Result<E::Reply, ModelError> {
        let _asking = Asking::new(&self.asking);
        let (reply, answer) = oneshot::channel();
        if self.sender.send(Letter { question, reply }).await.is_err() {
            return Err(self.ended());
        }
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    fn ended(&self) -> ModelError {
        let reason = self.ended.get().cloned();
        ModelError::Ended {
            reason: reason.unwrap_or_else(|| "no reason was left".to_owned()),
        }
    }
}

struct Worker<E: Engine> {
    receiver: mpsc::Receiver<Letter<E>>,
    batch: usize,
    asking: Arc<AtomicUsize>,
    ended: Arc<OnceLock<String>>,
    /// Callers that were asking when the batch before was made.
    before: usize,
    /// How long to wait for a caller that is likely to come.
    patience: Duration,
}

impl<E: Engine> Worker<E> {
    fn work(mut self, clock: &Runtime, mut engine: E) {
        while let Some(letters) = clock.block_on(self.collect()) {
            let (questions, replies): (Vec<_>, Vec<_>) = letters
                .into_iter()
                // Callers that gave up need no answer.
                .filter(|letter| !letter.reply.is_closed())
                .map(|letter| (letter.question, letter.reply))
                .unzip();
            if questions.is_empty() {
                continue;
            }
            let begun = Instant::now();
            let count = questions.len();
            // The engine is dropped after a panic, so nothing broken is seen again.
            let answers = match catch_unwind(AssertUnwindSafe(|| engine.answer(questions))) {
                Ok(Ok(answers)) if answers.len() == count => answers.into_iter().map(Ok).collect(),
                Ok(Ok(answers)) => {
                    let reason = format!("{} answers to {count} questions", answers.len());
                    every(count, &ModelError::Ended { reason })
                }
                Ok(Err(error)) => every(count, &error),
                Err(panic) => {
                    let reason = format!("it panicked: {}", message(panic.as_ref()));
                    tracing::error!(reason, "a model's thread has ended");
                    drop(self.ended.set(reason.clone()));
                    send(replies, every(count, &ModelError::Ended { reason }));
                    return;
                }
            };
            self.patience =
                (begun.elapsed() / 10).clamp(Duration::from_millis(1), Duration::from_millis(20));
            send(replies, answers);
        }
    }

    /// The next batch; `None` when all handles are gone.
    ///
    /// Takes what waits. A batch that is not full then waits for as many callers as were seen just
    /// now or when the batch before was made, because callers whose answer is out tend to ask again;
    /// a lone caller waits for nobody.
    async fn collect(&mut self) -> Option<Vec<Letter<E>>> {
        let mut letters = vec![self.receiver.recv().await?];
        let deadline = tokio::time::Instant::now() + self.patience;
        while letters.len() < self.batch {
            match self.receiver.try_recv() {
                Ok(letter) => letters.push(letter),
                Err(mpsc::error::TryRecvError::Disconnected) => break,
                Err(mpsc::error::TryRecvError::Empty) => {
                    let likely = self.before.max(self.asking.load(Ordering::SeqCst));
                    if letters.len() >= likely {
                        break;
                    }
                    match timeout_at(deadline, self.receiver.recv()).await {
                        Ok(Some(letter)) => letters.push(letter),
                        Ok(None) | Err(_) => break,
                    }
                }
            }
        }
        self.before = self.asking.load(Ordering::SeqCst);
        Some(letters)
    }
}

fn every<R>(count: usize, error: &ModelError) -> Vec<Result<R, ModelError>> {
    (0..count).map(|_| Err(error.clone())).collect()
}

fn send<R>(
    replies: Vec<oneshot::Sender<Result<R, ModelError>>>,
    answers: Vec<Result<R, ModelError>>,
) {
    for (reply, answer) in replies.into_iter().zip(answers) {
        // A caller that gave up meanwhile needs no answer.
        drop(reply.send(answer));
    }
}

/// What a panic said.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests;
