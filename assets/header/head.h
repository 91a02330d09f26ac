/*
 * The weights of a neural network, written by Lapidary. C99; needs stdint.h and nothing else.
 *
 * All names begin with that of the file, so that a program can hold several of them: model.h has
 * model_tensors[model_COUNT], which lists the layers in the order in which they run, then the other tensors (biases, and
 * weights that were left as they were), by name. Of each:
 *
 *   type, data      The codes. Elements of 4 and 2 bits lie two or four to a byte, the first in the lowest bits;
 *                   I4 and I2 are two's complement. F16, BF16, F8, F4 and E8M0 are patterns of bits.
 *   rank, shape     The shape that the layer reads: [outputs, inputs, ...] for most, as the network has it. The last
 *                   axis is the innermost.
 *   scale, zero     A weight is (code - zero) * scale; zero has the type of the codes, and 0 is a null pointer: no zero
 *                   points, or no scales: then the codes are the weights themselves.
 *   axis            The axis of shape that scale and zero belong to. -1: one scale for all. -2: the data lie as rows,
 *                   [outputs][rest], and every `block` neighbors of a row share a scale: [outputs][ceil(rest / block)].
 *   codebook        Where there is one, a weight is codebook[code].
 */
#include <stdint.h>

#ifndef LAPIDARY_TYPES
#define LAPIDARY_TYPES
typedef enum {
    LAPIDARY_F32, LAPIDARY_F16, LAPIDARY_BF16, LAPIDARY_I8, LAPIDARY_U8, LAPIDARY_I16, LAPIDARY_U16, LAPIDARY_I32,
    LAPIDARY_I4, LAPIDARY_U4, LAPIDARY_I2, LAPIDARY_U2, LAPIDARY_F8E4M3, LAPIDARY_F8E5M2, LAPIDARY_E8M0, LAPIDARY_F4E2M1
} lapidary_type;

typedef struct {
    const char *name;
    lapidary_type type;
    const void *data;
    uint32_t rank;
    const uint32_t *shape;
    const void *scale;
    lapidary_type scale_type;
    const void *zero;
    const float *codebook;
    int32_t axis;
    uint32_t block;
} lapidary_tensor;
#endif

