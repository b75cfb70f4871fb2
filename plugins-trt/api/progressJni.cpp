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

    //! Timing's fields in their order; null without memory, with Java's error.
    JNIEXPORT jdoubleArray JNICALL Java_io_nit_core_cuda_BuildMonitor_timing(JNIEnv* env, jclass, jlong address)
    {
        BuildProgress::Timing const timing = progress(address)->timing();
        jdouble const fields[]{
            static_cast<double>(timing.profiles), timing.profilesTook, timing.layers, timing.seconds};
        jsize const count = sizeof(fields) / sizeof(fields[0]);
        jdoubleArray const made = env->NewDoubleArray(count);
        if (made != nullptr)
        {
            env->SetDoubleArrayRegion(made, 0, count, fields);
        }
        return made;
    }

    JNIEXPORT jstring JNICALL Java_io_nit_core_cuda_BuildMonitor_phase(JNIEnv* env, jclass, jlong address)
    {
        return env->NewStringUTF(progress(address)->phase().c_str());
    }

} // extern "C"
