//! What the product does: seven stages, in this order, and the search that drives them.

pub mod load;

pub mod configure;

pub mod calibrate;

pub mod compress;

pub mod evaluate;

pub mod compare;

pub mod export;

pub mod search;
