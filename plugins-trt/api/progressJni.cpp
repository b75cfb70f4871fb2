// The way in from Java: io.nit.core.cuda.BuildMonitor.
#include <new>

#include "api/jniSupport.h"
#include "progress/buildProgress.h"

using nit::BuildProgress;
using nit::pointer;

namespace
{

BuildProgress* progress(jlong address)
{
    return pointer<BuildProgress>(address);
}

} // namespace

extern "C"
{

    //! What TensorRT is given: the monitor as its base class; 0 without memory.
    JNIEXPORT jlong JNICALL Java_io_nit_core_cuda_BuildMonitor_create(JNIEnv*, jclass)
    {
        nvinfer1::IProgressMonitor* const monitor = new (std::nothrow) BuildProgress();
        return static_cast<jlong>(reinterpret_cast<uintptr_t>(monitor));
    }

    JNIEXPORT void JNICALL Java_io_nit_core_cuda_BuildMonitor_destroy(JNIEnv*, jclass, jlong address)
    {
        delete progress(address);
    }

    JNIEXPORT jdouble JNICALL Java_io_nit_core_cuda_BuildMonitor_share(JNIEnv*, jclass, jlong address)
    {
        return progress(address)->share();
    }

    JNIEXPORT jstring JNICALL Java_io_nit_core_cuda_BuildMonitor_phases(JNIEnv* env, jclass, jlong address)
    {
        return env->NewStringUTF(progress(address)->phases().c_str());
    }

} // extern "C"
