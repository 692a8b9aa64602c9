//! The client side of the NATS protocol, as far as broadcaster needs it: nothing that a server or a publisher sends can
//! break it.

mod incoming;
mod reader;

pub use self::{
    incoming::Incoming,
    reader::{Operation, ProtocolError, Reader},
};
