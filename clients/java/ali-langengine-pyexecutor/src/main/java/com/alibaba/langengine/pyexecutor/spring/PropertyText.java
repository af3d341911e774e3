// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.spring;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** A property that {@link PropertyTextConverter} reads from text. */
@Target(ElementType.FIELD)
@Retention(RetentionPolicy.RUNTIME)
@interface PropertyText {
    /** The property's name, for messages. */
    String value();

    /** Whether {@code none} is accepted, for null. */
    boolean nullable() default false;
}
