// What the ways in from Java share.
#pragma once

#include <jni.h>

#include "api/nitKernels.h"

namespace nit
{

//! A device address as Java has it.
template <typename T = void>
T* pointer(jlong address)
{
    return reinterpret_cast<T*>(static_cast<uintptr_t>(address));
}

//! Makes an exception with nitLastError's message of an error; 0 passes.
inline void raise(JNIEnv* env, int error)
{
    if (error == 0)
    {
        return;
    }
    jclass const type = env->FindClass("io/nit/core/cuda/KernelException");
    if (type != nullptr)
    {
        env->ThrowNew(type, nitLastError());
    }
}

} // namespace nit
