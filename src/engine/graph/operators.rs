//! What several passes must know of operators.

/// Operators that change each value of their first input by itself.
const ELEMENTWISE: &str = "
    Relu Clip Sigmoid Tanh HardSigmoid HardSwish LeakyRelu Elu Selu Celu ThresholdedRelu Softplus
    Softsign Mish Gelu Erf Exp Log Sqrt Reciprocal Floor Ceil Round Sin Cos Tan Atan Neg Abs Sign
    Not IsNaN IsInf Identity Cast Acos Acosh Asin Asinh Atanh Cosh Sinh Swish BitwiseNot
";

/// Whether ONNX's operator `op` changes each value of its first input by itself: the output has that
/// input's shape, and no sample knows of another.
#[must_use]
pub fn is_elementwise(op: &str) -> bool {
    ELEMENTWISE.split_whitespace().any(|known| known == op)
}
