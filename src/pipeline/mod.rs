//! What the product does: seven stages, in this order.

pub mod load;
