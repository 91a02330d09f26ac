//! What the product does: seven stages, in this order.
