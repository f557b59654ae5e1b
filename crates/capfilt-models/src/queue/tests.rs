use std::sync::Mutex;

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
    let asks: Vec<_> = (100..150)
        .map(|number| {
            let queue = queue.clone();
            tokio::spawn(async move { (number, queue.ask(number).await) })
        })
        .collect();
    for ask in asks {
        let (number, answer) = ask.await.unwrap();
        assert_eq!(answer.unwrap(), number * 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_full_while_enough_callers_ask() {
    let (queue, batches) = start(8, Duration::from_millis(30));
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for turn in 0..20 {
                    queue.ask(1000 + caller * 100 + turn).await.unwrap();
                    // The caller's own work between two questions.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let batches = batches.lock().unwrap();
    let full = batches.iter().filter(|&&size| size == 8).count();
    assert_eq!(batches.iter().sum::<usize>(), 320);
    assert!(full * 10 >= batches.len() * 8, "{batches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_callers_as_the_batch_holds_fill_it_too() {
    let (queue, batches) = start(8, Duration::from_millis(30));
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for turn in 0..20 {
                    queue.ask(1000 + caller * 100 + turn).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let batches = batches.lock().unwrap();
    assert!(batches.len() <= 24, "{batches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_caller_waits_for_nobody() {
    let (queue, _) = start(16, Duration::ZERO);
    queue.ask(1).await.unwrap();
    let begun = Instant::now();
    for number in 0..200 {
        queue.ask(number + 1000).await.unwrap();
    }
    // Waiting would take at least a millisecond each.
    assert!(
        begun.elapsed() < Duration::from_millis(150),
        "{:?}",
        begun.elapsed()
    );
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
    let asks: Vec<_> = [666, 1, 2, 3, 4, 5, 6]
        .into_iter()
        .map(|number| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.ask(number).await })
        })
        .collect();
    let mut errors = 0;
    for ask in asks {
        let answer = tokio::time::timeout(Duration::from_secs(10), ask)
            .await
            .unwrap()
            .unwrap();
        errors += usize::from(answer.is_err());
    }
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
