# How our own code is compiled. recalld_options is linked privately by every target of ours.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

# Line numbers are enough outside of a debugger, and CAF's templates make full debug information
# several times larger than the code. Assertions stay on in the build that people work with.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g")

add_library(recalld_options INTERFACE)
target_include_directories(recalld_options INTERFACE "${PROJECT_SOURCE_DIR}")
target_compile_options(
  recalld_options
  INTERFACE -Wall
            -Wextra
            -Wpedantic
            -Wshadow
            -Wconversion
            -Wno-sign-conversion
            -Wcast-qual
            -Wnon-virtual-dtor
            -Woverloaded-virtual
            -Wimplicit-fallthrough
            -Wundef
            -Wvla
            -Werror
            # Leaving a field of a command or fact to its default is the point of designated
            # initializers.
            -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC's flow analysis reports false overflows and uninitialised reads in inlined std::string,
  # std::variant and std::optional, differently in each release.
  set(false_alarms maybe-uninitialized array-bounds stringop-overflow stringop-overread restrict
                   free-nonheap-object dangling-pointer)
  if(CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
    list(APPEND false_alarms dangling-reference)
  endif()
  list(TRANSFORM false_alarms PREPEND "-Wno-error=")
  target_compile_options(recalld_options INTERFACE ${false_alarms})
endif()

# Bounds and preconditions of the standard library, checked in every build but the released one. Not
# for code that includes CAF: its init_fun_factory dereferences a null shared_ptr<tuple<>>, which
# is harmless and would abort.
function(recalld_assert_std target)
  target_compile_definitions(${target} PRIVATE $<$<NOT:$<CONFIG:Release>>:_GLIBCXX_ASSERTIONS>)
endfunction()

# --- sanitizers ------------------------------------------------------------------------------
if(RECALLD_SANITIZE STREQUAL "address")
  # Without `null`, for the CAF line named above: a null pointer that is really read or written is
  # AddressSanitizer's anyway.
  set(sanitizer_flags -fsanitize=address,undefined -fno-sanitize=null -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
elseif(RECALLD_SANITIZE STREQUAL "thread")
  set(sanitizer_flags -fsanitize=thread -fno-omit-frame-pointer)
  # ThreadSanitizer does not see atomic_thread_fence; std headers use it.
  list(APPEND sanitizer_flags -Wno-tsan)
elseif(RECALLD_SANITIZE)
  message(FATAL_ERROR "RECALLD_SANITIZE is '${RECALLD_SANITIZE}', known are: address, thread")
endif()
if(sanitizer_flags)
  # Clearer stacks, and half the time to compile.
  string(REPLACE "-O2" "-O1" CMAKE_CXX_FLAGS_RELWITHDEBINFO "${CMAKE_CXX_FLAGS_RELWITHDEBINFO}")
  add_compile_options(${sanitizer_flags})
  add_link_options(${sanitizer_flags})
endif()

# --- speed of the build ------------------------------------------------------------------------
find_program(MOLD mold)
if(MOLD AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  add_link_options(-fuse-ld=mold)
endif()

# Paths in the output are relative to the source tree, so that equal sources in different clones
# give equal objects: reproducible, and found in each other's cache.
add_compile_options("-ffile-prefix-map=${PROJECT_SOURCE_DIR}=.")

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      /usr/bin/env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_NOHASHDIR=1
      # What ccache needs to see through precompiled headers.
      "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime"
      "${CCACHE}")
endif()
if(RECALLD_PCH AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-fpch-preprocess)
endif()

# Precompiles headers of other people for a target; ours must compile without it, and the check of
# headers (cmake/header_check.cmake) holds that.
function(recalld_precompile target)
  if(RECALLD_PCH)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
endfunction()
