//! The connections of a pipeline, which all its workers use: as few as there are streams needed.
//!
//! One is opened at a time, and whoever needs it waits for it, so that a burst at the start is one handshake and not as
//! many as there are workers. What is to be spoken is known only then, where that is left to the webhook (ALPN). Under
//! load there are a few, though one would do: a load balancer that knows nothing of HTTP gives each to one instance.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::{Rc, Weak},
    time::Duration,
};

use tokio::{
    task::spawn_local,
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::{
    connection::Connection,
    driver::{self, Buffer, Driver, Limits},
    exchange::Exchange,
    frame::Code,
    head::HeadWriter,
    link::{Link, Queue},
};
use crate::{
    base::{
        clock::{Clock, Time},
        network::stream::Stream,
    },
    config::{HttpVersion, Webhook},
    deliver::{
        answer::Answer,
        connect::connector::Connector,
        fault::{ExchangeError, Fault},
        patience::Patience,
        request::{Request, Template},
        spoken::Spoken,
    },
    message::outcome::Failure,
};

/// How often a request is sent again in one attempt because it was surely not taken. It may meet the end of a connection
/// or two; a webhook that always refuses must not be asked for ever.
const MOST_AGAIN: u32 = 5;
/// How long a connection may be silent while an answer is waited for, before it is asked whether it is there.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);
/// How many connections there are under load, though fewer would have room for all requests.
const FEW: usize = 4;
/// How many requests are under way on each of those that there are, when another one is worth its handshake.
const BUSY: u32 = 16;
/// When one more connection is tried again that could not be opened, while others are in use.
const PAUSE: Duration = Duration::from_secs(1);

/// The connections to one webhook from one lane.
pub(in crate::deliver) struct Pool {
    head: HeadWriter,
    connector: Rc<Connector>,
    /// How many requests there may be at a time.
    concurrency: usize,
    /// How much of an answer is kept, in bytes, for a route that looks into answers.
    keeps: Cell<Option<usize>>,
    limits: Limits,
    connect_timeout: Duration,
    clock: Clock,
    buffer: Buffer,
    /// Whether HTTP/1.1 will not do.
    is_demanded: bool,
    /// What the last connection spoke; nothing before the first.
    is_spoken: Cell<Option<bool>>,
    /// The same, for those who look from elsewhere.
    spoken: Spoken,
    links: RefCell<Vec<Open>>,
    /// The one that is being opened.
    opening: RefCell<Option<AbortOnDropHandle<()>>>,
    /// How many have been opened, or not, and why the last one could not be.
    openings: Cell<u64>,
    fault: RefCell<Option<Fault>>,
    /// Until when no more is opened beside those that there are.
    pauses_until: Cell<Time>,
    /// A connection that turned out to speak HTTP/1.1.
    spare: RefCell<Option<Stream>>,
    queue: Rc<Queue>,
}

/// A connection that is open, and what drives it.
struct Open {
    link: Rc<Link>,
    _driver: AbortOnDropHandle<()>,
}

/// How a request was answered, or is to be sent.
pub(in crate::deliver) enum Way {
    /// It was answered over HTTP/2.
    Answered(Answer),
    /// The webhook speaks HTTP/1.1. A connection is there where one was opened to find that out.
    Http1(Option<Box<Stream>>),
}

impl Pool {
    /// Connections to `webhook`, where HTTP/2 may be spoken there.
    pub(in crate::deliver) fn of(
        webhook: &Webhook,
        template: &Template,
        connector: &Rc<Connector>,
        spoken: Spoken,
        clock: Clock,
    ) -> Option<Self> {
        let is_encrypted = webhook.url.server_name().is_some();
        let is_demanded = match webhook.http {
            HttpVersion::Http2 => true,
            HttpVersion::Auto if is_encrypted => false,
            HttpVersion::Auto | HttpVersion::Http1 => return None,
        };
        let silence = (webhook.timeout / 4).min(LONGEST_SILENCE);
        Some(Self {
            head: HeadWriter::new(template, is_encrypted),
            connector: Rc::clone(connector),
            concurrency: webhook.concurrency.most().get(),
            keeps: Cell::new(None),
            limits: Limits { idle: webhook.idle_timeout, age: webhook.max_connection_age, silence },
            connect_timeout: webhook.connect_timeout,
            clock,
            buffer: driver::buffer(),
            is_demanded,
            is_spoken: Cell::new(is_demanded.then_some(true)),
            spoken,
            links: RefCell::default(),
            opening: RefCell::default(),
            openings: Cell::new(0),
            fault: RefCell::default(),
            pauses_until: Cell::new(Time::START),
            spare: RefCell::default(),
            queue: Rc::default(),
        })
    }

    /// Keeps answers of so many bytes from now on, where it keeps any.
    pub(in crate::deliver) fn keep(&self, keeps: Option<usize>) {
        self.keeps.set(keeps);
    }

    /// Sends `request` and waits for its answer. What was surely not taken is sent again, over another connection where
    /// that one is at its end.
    pub(in crate::deliver) async fn answer(
        self: &Rc<Self>,
        request: &Request<'_>,
        patience: &Patience,
    ) -> Result<Way, Fault> {
        for again in 0.. {
            let exchange = match self.begin(request) {
                Some(exchange) => Some(exchange),
                // Boxed, because it is seldom: it would make the future of each worker larger.
                None => Box::pin(self.wait(request)).await?,
            };
            let Some(mut exchange) = exchange else { return Ok(Way::Http1(self.spare.take().map(Box::new))) };
            match poll_fn(|cx| exchange.poll(cx, patience)).await {
                Ok(answer) => return Ok(Way::Answered(answer)),
                Err(ExchangeError::NotSent(fault) | ExchangeError::NotAcknowledged(fault))
                    if again < MOST_AGAIN =>
                {
                    debug!(cause = fault.cause.as_deref(), "the request was not taken, it is sent again");
                }
                Err(
                    ExchangeError::NotSent(fault)
                    | ExchangeError::NotAcknowledged(fault)
                    | ExchangeError::Failed(fault),
                ) => return Err(fault),
            }
        }
        Err(Failure::Reset.into())
    }

    /// Sends `request` over the connection with the fewest others, where one has room.
    fn begin<'p>(self: &Rc<Self>, request: &'p Request<'_>) -> Option<Exchange<'p>> {
        let links = self.links.borrow();
        let usable = links.iter().map(|open| &open.link).filter(|link| link.connection().can_open());
        let link = usable.min_by_key(|link| link.connection().open_streams())?;
        if links.len() < FEW && link.connection().open_streams() >= BUSY {
            self.open(None);
        }
        Exchange::begin(link, &self.head, request)
    }

    /// Waits until `request` can be sent, and sends it. None where the webhook speaks HTTP/1.1.
    async fn wait<'p>(self: &Rc<Self>, request: &'p Request<'_>) -> Result<Option<Exchange<'p>>, Fault> {
        /// Counts down when nobody waits any more, for whatever reason.
        struct InQueue<'q>(&'q Queue);
        impl Drop for InQueue<'_> {
            fn drop(&mut self) {
                self.0.waiting.set(self.0.waiting.get() - 1);
            }
        }
        self.queue.waiting.set(self.queue.waiting.get() + 1);
        let _in_queue = InQueue(&self.queue);
        let mut openings = self.openings.get();
        loop {
            if self.is_spoken.get() == Some(false) {
                return Ok(None);
            }
            if let Some(exchange) = self.begin(request) {
                return Ok(Some(exchange));
            }
            // Before it is looked whether one is opened: it would be told otherwise that it is not.
            let changed = self.queue.changed.notified();
            self.open(None);
            changed.await;
            if self.openings.get() > openings && !self.has_one() {
                openings = self.openings.get();
                if let Some(fault) = self.fault.borrow().clone() {
                    return Err(fault);
                }
            }
        }
    }

    /// Whether there is a connection that is, or may become, of use.
    fn has_one(&self) -> bool {
        self.links.borrow().iter().any(|open| open.link.connection().is_of_use())
    }

    /// Opens one more connection, or speaks over `stream`, where none is being opened and there is not one for each
    /// request already.
    fn open(self: &Rc<Self>, stream: Option<Stream>) {
        let is_paused = self.pauses_until.get() > self.clock.now() && self.has_one();
        if self.opening.borrow().is_some() || self.links.borrow().len() >= self.concurrency || is_paused {
            return;
        }
        let opening = Rc::clone(self).opener(stream);
        *self.opening.borrow_mut() = Some(AbortOnDropHandle::new(spawn_local(opening)));
    }

    /// What opens a connection, and drives it as long as it lasts. It keeps no pool alive: dropping the pool aborts it.
    fn opener(self: Rc<Self>, stream: Option<Stream>) -> impl Future<Output = ()> + 'static {
        let (connector, pool) = (Rc::clone(&self.connector), Rc::downgrade(&self));
        drop(self);
        async move {
            let stream = match stream {
                Some(stream) => Ok(stream),
                None => Box::pin(connector.connect()).await,
            };
            let Some(driver) = Self::established(&pool, stream).await else { return };
            let link = Rc::clone(&driver.link);
            driver.run().await;
            if let Some(pool) = pool.upgrade() {
                pool.closed(&link);
            }
        }
    }

    /// The driver of a new connection over `stream`, when that is of use.
    async fn established(pool: &Weak<Self>, stream: Result<Stream, Fault>) -> Option<Driver> {
        let mut driver = {
            let pool = pool.upgrade()?;
            match stream {
                Err(fault) => return pool.ended(Some(fault)),
                Ok(stream) if pool.is_http1(&stream) => {
                    let fault = pool.turned_down(stream);
                    return pool.ended(fault);
                }
                Ok(stream) => pool.driver(stream),
            }
        };
        let within = pool.upgrade()?.connect_timeout;
        let settled =
            timeout_at(Instant::now() + within, driver.settled()).await.unwrap_or_else(|_elapsed| {
                let within = humantime::format_duration(within);
                Err(Fault::new(
                    Failure::Protocol,
                    format_args!("HTTP/2: the webhook has not begun to speak it within {within}"),
                ))
            });
        let pool = pool.upgrade()?;
        if let Err(fault) = settled {
            return pool.ended(Some(fault));
        }
        pool.speaks(true);
        if let Some(handle) = pool.opening.take() {
            pool.links.borrow_mut().push(Open { link: Rc::clone(&driver.link), _driver: handle });
        }
        pool.ended::<()>(None);
        Some(driver)
    }

    fn driver(&self, stream: Stream) -> Driver {
        let connection = Connection::new(self.concurrency, self.keeps.get());
        let link = Link::new(connection, self.limits.silence, self.clock.now(), Rc::clone(&self.queue));
        Driver::new(stream, Rc::new(link), Rc::clone(&self.buffer), self.limits, self.clock)
    }

    fn is_http1(&self, stream: &Stream) -> bool {
        stream.session().is_some() && !stream.speaks_http2()
    }

    /// Takes note that the webhook speaks HTTP/1.1 over `stream`, and says why that will not do, where it will not.
    fn turned_down(&self, stream: Stream) -> Option<Fault> {
        if self.is_demanded {
            let words = "the webhook does not speak HTTP/2 (ALPN), which webhook.http = \"2\" demands";
            return Some(Fault::new(Failure::Protocol, words));
        }
        self.speaks(false);
        *self.spare.borrow_mut() = Some(stream);
        None
    }

    /// Tells all who wait that a connection has been opened, or why none could be.
    fn ended<T>(&self, fault: Option<Fault>) -> Option<T> {
        drop(self.opening.take());
        if fault.is_some() {
            self.pauses_until.set(self.clock.now() + PAUSE);
        }
        *self.fault.borrow_mut() = fault;
        self.openings.set(self.openings.get() + 1);
        self.queue.changed.notify_waiters();
        None
    }

    /// Takes note that a connection has ended.
    fn closed(&self, link: &Rc<Link>) {
        self.links.borrow_mut().retain(|open| !Rc::ptr_eq(&open.link, link));
        // Whoever waits for one of its streams needs another connection.
        self.queue.changed.notify_waiters();
    }

    fn speaks(&self, http2: bool) {
        self.is_spoken.set(Some(http2));
        self.spoken.note(http2);
    }

    /// Speaks HTTP/2 from now on: `stream` turned out to.
    pub(in crate::deliver) fn adopt(self: &Rc<Self>, stream: Stream) {
        self.speaks(true);
        self.open(Some(stream));
    }

    /// Whether requests go to the pool: HTTP/2 is spoken, or nobody knows yet.
    pub(in crate::deliver) fn is_spoken(&self) -> bool {
        self.is_spoken.get() != Some(false)
    }

    /// Whether there is no connection to look after.
    pub(in crate::deliver) fn is_empty(&self) -> bool {
        self.links.borrow().is_empty()
    }

    /// Closes the connections that are not in use.
    pub(in crate::deliver) fn close_idle(&self) {
        for Open { link, .. } in &*self.links.borrow() {
            if link.connection().open_streams() == 0 {
                link.connection_mut().drain(Code::NO_ERROR);
                link.wake_driver();
            }
        }
    }
}
