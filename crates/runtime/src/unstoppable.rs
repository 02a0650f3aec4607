//! Work that completes even if its caller is gone.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// A future that is polled where it is awaited, like any other. If it is dropped before its end, a separate task
/// completes it.
///
/// An immediate `tokio::spawn` would also work, but costs each call two hand-overs between threads.
#[must_use = "futures do nothing unless polled"]
pub struct Unstoppable<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

/// Makes a future complete once it has begun, even if nobody awaits it any more.
pub fn unstoppable<F: Future<Output: Send> + Send + 'static>(future: F) -> Unstoppable<F> {
    Unstoppable(Some(Box::pin(future)))
}

impl<F: Future<Output: Send> + Send + 'static> Future for Unstoppable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out while it is polled, so that a future that panics is not polled again.
        let Some(mut future) = self.0.take() else { return Poll::Pending };
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.0 = Some(future);
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Unstoppable<F> {
    fn drop(&mut self) {
        let Some(future) = self.0.take() else { return };
        // There is no runtime if the process is ending.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::oneshot, task::yield_now};

    use super::*;

    #[tokio::test]
    async fn future_completes_after_its_caller_is_gone() {
        let (go, wait) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let work = unstoppable(async move {
            wait.await.unwrap();
            done.send(7).unwrap();
        });
        tokio::select! {
            biased;
            () = work => unreachable!("it waits"),
            () = yield_now() => {}
        }
        go.send(()).unwrap();
        assert_eq!(ended.await, Ok(7));
    }
}
