//! A page that takes long to render, for many who ask at the same time.
//!
//! It is rendered on another thread than the one that answers probes, and packed as it is written: with series for ten
//! thousand routes it has 76 MB, of which each slow reader would keep one.

use std::{cell::RefCell, fmt, io, rc::Rc, time::Duration};

use tokio::{
    sync::SetOnce,
    task::spawn_local,
    time::{Instant, sleep},
};

use crate::{
    base::blocking::BlockingThreads,
    control::server::{Packed, Packing},
};

/// For how many times as long as it took to render a page is it served again. So no number of scrapers takes more than a
/// fifth of a core.
const AGAIN: u32 = 4;

/// The last rendering, while it is as good as new: some milliseconds for a page of a few routes. Or the one that is under
/// way, for which all wait who ask meanwhile.
#[derive(Debug, Default)]
pub(super) struct Rendering(Rc<RefCell<Option<Page>>>);

/// A page, as soon as it is there. The error is the system's: it has no thread for it.
pub(super) type Page = Rc<SetOnce<io::Result<Packed>>>;

impl Rendering {
    /// The page, which `render` writes on one of `threads` where there is none. It is finished also where all who
    /// have asked for it have left.
    pub(super) fn get(
        &self,
        threads: &BlockingThreads,
        render: impl FnOnce(&mut Packing) -> fmt::Result + Send + 'static,
    ) -> Page {
        if let Some(page) = &*self.0.borrow() {
            return Rc::clone(page);
        }
        let page = Page::default();
        self.0.replace(Some(Rc::clone(&page)));
        let (threads, last, rendered) = (threads.clone(), Rc::clone(&self.0), Rc::clone(&page));
        drop(spawn_local(async move {
            let begin = Instant::now();
            let packed = threads.run(|| pack(render)).await.flatten();
            // Nobody else sets it.
            drop(rendered.set(packed));
            let good_for: Duration = begin.elapsed() * AGAIN;
            sleep(good_for).await;
            last.take();
        }));
        page
    }
}

fn pack(render: impl FnOnce(&mut Packing) -> fmt::Result) -> io::Result<Packed> {
    let mut packing = Packing::default();
    render(&mut packing).map_err(io::Error::other)?;
    packing.finish()
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::Write as _,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering::Relaxed},
            mpsc,
        },
    };

    use super::*;
    use crate::base::runtime;

    async fn text(page: Page) -> String {
        page.wait().await.as_ref().unwrap().text()
    }

    #[test]
    fn many_who_ask_at_once_get_the_same_page_and_the_next_a_new_one() {
        let rendered = Arc::new(AtomicU32::default());
        let render = || {
            let rendered = Arc::clone(&rendered);
            move |page: &mut Packing| {
                std::thread::sleep(Duration::from_millis(5));
                write!(page, "{}", rendered.fetch_add(1, Relaxed) + 1)
            }
        };
        runtime::local().unwrap().block_on(async {
            let (page, threads) = (Rendering::default(), BlockingThreads::of(1));
            let asked: Vec<_> = (0..100).map(|_| page.get(&threads, render())).collect();
            for page in asked {
                assert_eq!(text(page).await, "1");
            }
            while page.0.borrow().is_some() {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(text(page.get(&threads, render())).await, "2");
        });
    }

    /// Were it rendered on this thread, it would wait for itself.
    #[test]
    fn whoever_asks_for_something_else_does_not_wait_for_the_page() {
        runtime::local().unwrap().block_on(async {
            let (release, held) = mpsc::sync_channel(1);
            let (rendering, threads) = (Rendering::default(), BlockingThreads::of(1));
            let page = rendering.get(&threads, move |page| {
                held.recv().map_err(|_| fmt::Error)?;
                page.write_str("all")
            });
            sleep(Duration::ZERO).await;
            assert!(!page.initialized());
            release.send(()).unwrap();
            assert_eq!(text(page).await, "all");
        });
    }
}
