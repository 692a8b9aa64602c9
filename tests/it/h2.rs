//! HTTP/2: the client against servers of all kinds, and against what no server should do.

mod basics;
