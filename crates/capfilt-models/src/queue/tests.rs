use std::sync::Mutex;

use tokio::task::JoinSet;

use super::*;

/// Doubles numbers; 13 fails and 666 panics.
struct Doubling {
    batches: Arc<Mutex<Vec<usize>>>,
    takes: Duration,
}

impl Engine for Doubling {
    type Question = u32;
    type Reply = u32;

    fn answer(&mut self, batch: Vec<u32>) -> Result<Vec<u32>, ModelError> {
        self.batches.lock().unwrap().push(batch.len());
        thread::sleep(self.takes);
        assert!(!batch.contains(&666), "the number of the beast");
        if batch.contains(&13) {
            return Err(ModelError::Text("13 was asked".to_owned()));
        }
        Ok(batch.iter().map(|number| number * 2).collect())
    }
}

fn start(batch: usize, takes: Duration) -> (Queue<Doubling>, Arc<Mutex<Vec<usize>>>) {
    let batches = Arc::new(Mutex::new(Vec::new()));
    let engine = Doubling {
        batches: Arc::clone(&batches),
        takes,
    };
    (Queue::start("doubling", batch, engine).unwrap(), batches)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_caller_gets_its_own_answer() {
    let (queue, _) = start(4, Duration::from_millis(1));
    let mut asks = JoinSet::new();
    for number in 100..150 {
        let queue = queue.clone();
        asks.spawn(async move { (number, queue.ask(number).await) });
    }
    while let Some(answer) = asks.join_next().await {
        let (number, answer) = answer.unwrap();
        assert_eq!(answer.unwrap(), number * 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_full_while_enough_callers_ask() {
    let (queue, batches) = start(8, Duration::from_millis(30));
    let mut callers = JoinSet::new();
    for caller in 0..16 {
        let queue = queue.clone();
        callers.spawn(async move {
            for turn in 0..20 {
                queue.ask(1000 + caller * 100 + turn).await.unwrap();
                // The caller's own work between two questions.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    callers.join_all().await;
    let batches = batches.lock().unwrap();
    let full = batches.iter().filter(|&&size| size == 8).count();
    assert_eq!(batches.iter().sum::<usize>(), 320);
    assert!(full * 10 >= batches.len() * 8, "{batches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_callers_as_the_batch_holds_fill_it_too() {
    let (queue, batches) = start(8, Duration::from_millis(30));
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let queue = queue.clone();
        callers.spawn(async move {
            for turn in 0..20 {
                queue.ask(1000 + caller * 100 + turn).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    let batches = batches.lock().unwrap();
    assert!(batches.len() <= 24, "{batches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_caller_waits_for_nobody() {
    let (queue, _) = start(16, Duration::ZERO);
    let mut best = Duration::MAX;
    // The best of a few tries: the machine may be busy with something else.
    for _ in 0..8 {
        let begun = Instant::now();
        for number in 0..40 {
            queue.ask(number + 1000).await.unwrap();
        }
        best = best.min(begun.elapsed());
    }
    // Waiting would take at least a millisecond each.
    assert!(best < Duration::from_millis(35), "{best:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_batch_tells_every_caller_and_the_next_one_is_answered() {
    let (queue, _) = start(4, Duration::from_millis(5));
    let message = queue.ask(13).await.unwrap_err().to_string();
    assert_eq!(message, "13 was asked");
    assert_eq!(queue.ask(1).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_reaches_all_waiting_and_later_callers_as_an_error() {
    let (queue, _) = start(2, Duration::from_millis(20));
    let mut asks = JoinSet::new();
    for number in [666, 1, 2, 3, 4, 5, 6] {
        let queue = queue.clone();
        asks.spawn(async move { queue.ask(number).await });
    }
    let answers = tokio::time::timeout(Duration::from_secs(10), asks.join_all())
        .await
        .unwrap();
    let errors = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(errors >= 1);
    let message = queue.ask(7).await.unwrap_err().to_string();
    assert!(message.contains("the number of the beast"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_thread_ends_with_the_last_handle() {
    struct Dropped(Arc<AtomicUsize>);
    impl Engine for Dropped {
        type Question = ();
        type Reply = ();
        fn answer(&mut self, batch: Vec<()>) -> Result<Vec<()>, ModelError> {
            Ok(batch)
        }
    }
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let queue = Queue::start("dropped", 2, Dropped(Arc::clone(&dropped))).unwrap();
    queue.clone().ask(()).await.unwrap();
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    drop(queue);
    for _ in 0..200 {
        if dropped.load(Ordering::SeqCst) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the thread goes on");
}
