#include "common/launch.h"
#include "packedAdaLnPlugin/adaLn.cuh"

namespace nit
{
namespace
{

template <typename T, bool kGated, bool kNormed>
int launch(NitAdaLnParams const& p, cudaStream_t stream)
{
    unsigned const blocks = static_cast<unsigned>((p.tokens + kAdaLnWarps - 1) / kAdaLnWarps);
    bool vectors = p.hidden % 8 == 0 && p.hidden <= 2048 && p.modulationStride % 8 == 0 && aligned16(p.x);
    vectors = vectors && (!kGated || (aligned16(p.y) && aligned16(p.gate) && aligned16(p.residual)));
    vectors = vectors && (!kNormed || (aligned16(p.shift) && aligned16(p.scale) && aligned16(p.out)));
    int constexpr kThreads = kAdaLnWarps * 32;
    auto const run = [&](void (*kernel)(NitAdaLnParams))
    { return launchAfter("adaLn", kernel, blocks, kThreads, 0, stream, p); };
    if (!vectors)
    {
        return run(adaLnAnyKernel<T, kGated, kNormed>);
    }
    if (p.tokens <= kFewAdaLnTokens)
    {
        unsigned const rows = static_cast<unsigned>(p.tokens);
        int constexpr kFew = 5;
        int constexpr kMany = 8;
        return p.hidden <= kFew * 256
                   ? launchAfter(
                         "adaLn", adaLnRowKernel<T, kFew, kGated, kNormed>, rows, kFew * 32, kAdaLnRowShared, stream, p)
                   : launchAfter(
                         "adaLn", adaLnRowKernel<T, kMany, kGated, kNormed>, rows, kMany * 32, kAdaLnRowShared, stream,
                         p);
    }
    if (p.hidden <= 512)
    {
        return run(adaLnKernel<T, 2, kGated, kNormed>);
    }
    if (p.hidden <= 768)
    {
        return run(adaLnKernel<T, 3, kGated, kNormed>);
    }
    if (p.hidden <= 1280)
    {
        return run(adaLnKernel<T, 5, kGated, kNormed>);
    }
    return run(adaLnKernel<T, 8, kGated, kNormed>);
}

template <bool kGated, bool kNormed>
int launch(char const* name, NitAdaLnParams const* p, void* stream)
{
    if (p == nullptr)
    {
        return invalid("%s: expected parameters, found NULL", name);
    }
    if (p->tokens < 0 || p->hidden < 1)
    {
        return invalid(
            "%s: expected tokens >= 0 and hidden >= 1, found %lld and %d", name, static_cast<long long>(p->tokens),
            p->hidden);
    }
    if (p->tokens == 0)
    {
        return 0;
    }
    bool const given = p->x != nullptr && p->imageIndex != nullptr &&
                       (!kGated || (p->y != nullptr && p->gate != nullptr && p->residual != nullptr)) &&
                       (!kNormed || (p->shift != nullptr && p->scale != nullptr && p->out != nullptr));
    if (!given)
    {
        return invalid("%s: expected all of its tensors, found NULL among them", name);
    }
    if (p->modulationStride < p->hidden)
    {
        return invalid(
            "%s: expected modulationStride >= hidden (%d), found %lld", name, p->hidden,
            static_cast<long long>(p->modulationStride));
    }
    cudaStream_t const queue = static_cast<cudaStream_t>(stream);
    switch (p->type)
    {
    case NIT_BF16:
        return launch<Bf16, kGated, kNormed>(*p, queue);
    case NIT_FP16:
        return launch<Fp16, kGated, kNormed>(*p, queue);
    default:
        return invalid("%s: expected type NIT_BF16 (0) or NIT_FP16 (1), found %d", name, p->type);
    }
}

} // namespace
} // namespace nit

int nitPackedAdaLn(NitAdaLnParams const* params, void* stream)
{
    return nit::launch<false, true>("nitPackedAdaLn", params, stream);
}

int nitGatedResidual(NitAdaLnParams const* params, void* stream)
{
    return nit::launch<true, false>("nitGatedResidual", params, stream);
}

int nitGatedAdaLn(NitAdaLnParams const* params, void* stream)
{
    return nit::launch<true, true>("nitGatedAdaLn", params, stream);
}
