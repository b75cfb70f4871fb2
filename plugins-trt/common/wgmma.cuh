// wgmma: one warpgroup multiplies a [64, 16] by a [16, N] tile, fp32 accumulators in registers. PTX has one
// instruction a shape with every register written out, so this file is long and says little: pairs of (N, source of A).
// Facts from the PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".
#pragma once

#include "common/device.cuh"

namespace nit
{

//! d [64, kN] (+)= a [64, 16] x b [16, kN]; both from shared memory, K-major. scaleD 0 starts from zero.
template <typename T, int kN>
NIT_DEVICE void wgmmaShared(float (&d)[kN / 2], uint64_t a, uint64_t b, int scaleD);

//! d [64, kN] += a [64, 16] x b [16, kN]; a in registers, b from shared memory, N-major.
template <typename T, int kN>
NIT_DEVICE void wgmmaRegisters(float (&d)[kN / 2], uint32_t const (&a)[4], uint64_t b, int scaleD);

#define NIT_WGMMA_SHARED_64(Type, suffix)                                                                              \
    template <>                                                                                                        \
    NIT_DEVICE void wgmmaShared<Type, 64>(float(&d)[32], uint64_t a, uint64_t b, int scaleD)                           \
    {                                                                                                                  \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"                                                      \
                     "wgmma.mma_async.sync.aligned.m64n64k16.f32." suffix "." suffix " "                               \
                     "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                         \
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "               \
                     "%32, %33, p, 1, 1, 0, 0;\n}\n"                                                                   \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
                       "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),        \
                       "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),      \
                       "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),      \
                       "+f"(d[29]), "+f"(d[30]), "+f"(d[31])                                                           \
                     : "l"(a), "l"(b), "r"(scaleD));                                                                   \
    }

NIT_WGMMA_SHARED_64(Bf16, "bf16")
NIT_WGMMA_SHARED_64(Fp16, "f16")
#undef NIT_WGMMA_SHARED_64

#define NIT_WGMMA_SHARED_72(Type, suffix)                                                                              \
    template <>                                                                                                        \
    NIT_DEVICE void wgmmaShared<Type, 72>(float(&d)[36], uint64_t a, uint64_t b, int scaleD)                           \
    {                                                                                                                  \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %38, 0;\n"                                                      \
                     "wgmma.mma_async.sync.aligned.m64n72k16.f32." suffix "." suffix " "                               \
                     "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                         \
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                \
                     "%32, %33, %34, %35}, "                                                                           \
                     "%36, %37, p, 1, 1, 0, 0;\n}\n"                                                                   \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
                       "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),        \
                       "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),      \
                       "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),      \
                       "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35])       \
                     : "l"(a), "l"(b), "r"(scaleD));                                                                   \
    }

NIT_WGMMA_SHARED_72(Bf16, "bf16")
NIT_WGMMA_SHARED_72(Fp16, "f16")
#undef NIT_WGMMA_SHARED_72

#define NIT_WGMMA_SHARED_96(Type, suffix)                                                                              \
    template <>                                                                                                        \
    NIT_DEVICE void wgmmaShared<Type, 96>(float(&d)[48], uint64_t a, uint64_t b, int scaleD)                           \
    {                                                                                                                  \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %50, 0;\n"                                                      \
                     "wgmma.mma_async.sync.aligned.m64n96k16.f32." suffix "." suffix " "                               \
                     "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                         \
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                \
                     "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47}, "               \
                     "%48, %49, p, 1, 1, 0, 0;\n}\n"                                                                   \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
                       "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),        \
                       "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),      \
                       "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),      \
                       "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),      \
                       "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]),      \
                       "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47])                                 \
                     : "l"(a), "l"(b), "r"(scaleD));                                                                   \
    }

NIT_WGMMA_SHARED_96(Bf16, "bf16")
NIT_WGMMA_SHARED_96(Fp16, "f16")
#undef NIT_WGMMA_SHARED_96

#define NIT_WGMMA_SHARED_128(Type, suffix)                                                                             \
    template <>                                                                                                        \
    NIT_DEVICE void wgmmaShared<Type, 128>(float(&d)[64], uint64_t a, uint64_t b, int scaleD)                          \
    {                                                                                                                  \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"                                                      \
                     "wgmma.mma_async.sync.aligned.m64n128k16.f32." suffix "." suffix " "                              \
                     "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                         \
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                \
                     "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                \
                     "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "               \
                     "%64, %65, p, 1, 1, 0, 0;\n}\n"                                                                   \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
                       "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),        \
                       "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),      \
                       "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),      \
                       "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),      \
                       "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]),      \
                       "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]),      \
                       "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),      \
                       "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])       \
                     : "l"(a), "l"(b), "r"(scaleD));                                                                   \
    }

NIT_WGMMA_SHARED_128(Bf16, "bf16")
NIT_WGMMA_SHARED_128(Fp16, "f16")
#undef NIT_WGMMA_SHARED_128

#define NIT_WGMMA_SHARED_144(Type, suffix)                                                                             \
    template <>                                                                                                        \
    NIT_DEVICE void wgmmaShared<Type, 144>(float(&d)[72], uint64_t a, uint64_t b, int scaleD)                          \
    {                                                                                                                  \
        asm volatile(                                                                                                  \
            "{\n.reg .pred p;\nsetp.ne.b32 p, %74, 0;\n"                                                               \
            "wgmma.mma_async.sync.aligned.m64n144k16.f32." suffix "." suffix " "                                       \
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                  \
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                         \
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                         \
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "                         \
            "%64, %65, %66, %67, %68, %69, %70, %71}, "                                                                \
            "%72, %73, p, 1, 1, 0, 0;\n}\n"                                                                            \
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),          \
              "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),    \
              "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),  \
              "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),  \
              "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),  \
              "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),  \
              "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),  \
              "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),  \
              "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71])   \
            : "l"(a), "l"(b), "r"(scaleD));                                                                            \
    }

NIT_WGMMA_SHARED_144(Bf16, "bf16")
NIT_WGMMA_SHARED_144(Fp16, "f16")
#undef NIT_WGMMA_SHARED_144

#define NIT_WGMMA_SHARED_192(Type, suffix)                                                                             \
    template <>                                                                                                        \
    NIT_DEVICE void wgmmaShared<Type, 192>(float(&d)[96], uint64_t a, uint64_t b, int scaleD)                          \
    {                                                                                                                  \
        asm volatile(                                                                                                  \
            "{\n.reg .pred p;\nsetp.ne.b32 p, %98, 0;\n"                                                               \
            "wgmma.mma_async.sync.aligned.m64n192k16.f32." suffix "." suffix " "                                       \
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                  \
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                         \
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                         \
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "                         \
            "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "                         \
            "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}, "                        \
            "%96, %97, p, 1, 1, 0, 0;\n}\n"                                                                            \
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),          \
              "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),    \
              "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),  \
              "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),  \
              "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),  \
              "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),  \
              "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),  \
              "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),  \
              "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]),  \
              "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),  \
              "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]),  \
              "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])   \
            : "l"(a), "l"(b), "r"(scaleD));                                                                            \
    }

NIT_WGMMA_SHARED_192(Bf16, "bf16")
NIT_WGMMA_SHARED_192(Fp16, "f16")
#undef NIT_WGMMA_SHARED_192

#define NIT_WGMMA_REGISTERS_64(Type, suffix)                                                                           \
    template <>                                                                                                        \
    NIT_DEVICE void wgmmaRegisters<Type, 64>(float(&d)[32], uint32_t const(&a)[4], uint64_t b, int scaleD)             \
    {                                                                                                                  \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"                                                      \
                     "wgmma.mma_async.sync.aligned.m64n64k16.f32." suffix "." suffix " "                               \
                     "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                         \
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "               \
                     "{%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}\n"                                                     \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
                       "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),        \
                       "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),      \
                       "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),      \
                       "+f"(d[29]), "+f"(d[30]), "+f"(d[31])                                                           \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(scaleD));                               \
    }

NIT_WGMMA_REGISTERS_64(Bf16, "bf16")
NIT_WGMMA_REGISTERS_64(Fp16, "f16")
#undef NIT_WGMMA_REGISTERS_64

#define NIT_WGMMA_REGISTERS_72(Type, suffix)                                                                           \
    template <>                                                                                                        \
    NIT_DEVICE void wgmmaRegisters<Type, 72>(float(&d)[36], uint32_t const(&a)[4], uint64_t b, int scaleD)             \
    {                                                                                                                  \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %41, 0;\n"                                                      \
                     "wgmma.mma_async.sync.aligned.m64n72k16.f32." suffix "." suffix " "                               \
                     "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                         \
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                \
                     "%32, %33, %34, %35}, "                                                                           \
                     "{%36, %37, %38, %39}, %40, p, 1, 1, 1;\n}\n"                                                     \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
                       "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),        \
                       "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),      \
                       "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),      \
                       "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35])       \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(scaleD));                               \
    }

NIT_WGMMA_REGISTERS_72(Bf16, "bf16")
NIT_WGMMA_REGISTERS_72(Fp16, "f16")
#undef NIT_WGMMA_REGISTERS_72

} // namespace nit
