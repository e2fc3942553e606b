//! How bytes cross cores and sockets in bounded memory.
