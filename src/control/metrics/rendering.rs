//! A page that takes long to render, for many who ask at the same time.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{task::spawn_local, time::sleep};

/// For how many times as long as it took to render a page is it served again. So no number of scrapers takes more than a
/// fifth of the thread that answers probes as well.
const AGAIN: u32 = 4;

/// The last rendering, while it is as good as new: some milliseconds for a page of a few routes.
#[derive(Debug, Default)]
pub(super) struct Rendering(Rc<RefCell<Option<Bytes>>>);

impl Rendering {
    /// The page, as `render` makes it where there is none.
    pub(super) fn get(&self, render: impl FnOnce() -> String) -> Bytes {
        if let Some(page) = &*self.0.borrow() {
            return page.clone();
        }
        let begin = Instant::now();
        let page = Bytes::from(render());
        let good_for: Duration = begin.elapsed() * AGAIN;
        self.0.replace(Some(page.clone()));
        let last = Rc::clone(&self.0);
        drop(spawn_local(async move {
            sleep(good_for).await;
            last.take();
        }));
        page
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::base::runtime;

    #[test]
    fn many_who_ask_at_once_get_the_same_page_and_the_next_a_new_one() {
        let rendered = Cell::new(0_u32);
        let render = || {
            std::thread::sleep(Duration::from_millis(5));
            rendered.set(rendered.get() + 1);
            rendered.get().to_string()
        };
        runtime::local().unwrap().block_on(async {
            let page = Rendering::default();
            for _ in 0..100 {
                assert_eq!(page.get(render), "1");
            }
            sleep(5 * AGAIN * Duration::from_millis(5)).await;
            assert_eq!(page.get(render), "2");
        });
    }
}
